"""Own photos: every pixel outside the faces stays, the bound holds, no file is overwritten."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aef_core.atomic import write_new
from aef_core.errors import AEFError
from aef_core.faces import load_faces, photos, to_uint8
from aef_core.faces.detection import NoFace
from aef_core.faces.photos import overlay, protect_photo

EPS = 0.05
BOX = (20, 10, 120, 110)


@pytest.fixture
def delta() -> torch.Tensor:
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return (noise - 0.5).sign() * EPS


@pytest.fixture
def a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """MTCNN is slow: pretend it found one face."""
    monkeypatch.setattr(photos, "face_squares", lambda pixels: [BOX])


def noise(width: int = 200, height: int = 150, mode: str = "RGB") -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = (height, width, bands) if bands > 1 else (height, width)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(after.astype(int) - before.astype(int))


def test_a_photo_keeps_its_size_and_changes_only_in_the_square(a_face, delta, tmp_path) -> None:
    path = save(noise(), tmp_path / "me.png")
    done = protect_photo(path, delta)
    with Image.open(done.saved) as written:
        assert written.size == (200, 150)
        moved = change(np.asarray(noise()), np.asarray(written))
    left, top, right, bottom = BOX
    assert 0 < moved.max() <= round(127.5 * EPS)
    assert moved[top:bottom, left:right].mean() > 3
    moved[top:bottom, left:right] = 0
    assert not moved.any()
    assert 20 < done.psnr(BOX) < 40


def test_strength_multiplies_the_bound(a_face, delta, tmp_path) -> None:
    path = save(noise(), tmp_path / "me.png")
    done = protect_photo(path, delta, strength=2)
    assert round(127.5 * EPS) < change(done.before, done.after).max() <= round(127.5 * 2 * EPS)
    with pytest.raises(ValueError, match="strength must be positive, at most 4, got 0"):
        protect_photo(path, delta, strength=0)


def test_overlapping_and_overhanging_squares_stay_within_the_bound(delta) -> None:
    grey = np.full((90, 90, 3), 128, np.uint8)
    boxes = [(-30, -20, 70, 80), (10, 0, 60, 50), (60, 60, 200, 200)]
    moved = change(grey, overlay(grey, delta, boxes))
    assert moved.max() <= 127.5 * EPS + 0.5
    assert (moved.max(axis=2) > 0).mean() > 0.7


def test_a_square_of_the_perturbations_own_size_adds_it_unchanged(delta) -> None:
    grey = np.full((80, 80, 3), 128, np.uint8)
    after = overlay(grey, delta, [(8, 8, 72, 72)])[8:72, 8:72]
    expected = np.round(128 + 127.5 * delta[0].permute(1, 2, 0).numpy())
    assert (after == expected).all()


def test_nothing_is_overwritten(a_face, delta, tmp_path) -> None:
    path = save(noise(), tmp_path / "me.png")
    original, out = path.read_bytes(), tmp_path / "new" / "folder"
    saved = [protect_photo(path, delta, out).saved for _ in range(3)]
    assert [p.name for p in saved] == [
        "me-protected.png",
        "me-protected-2.png",
        "me-protected-3.png",
    ]
    assert path.read_bytes() == original
    assert protect_photo(path, delta).saved == tmp_path / "me-protected.png"


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_kept(mode, a_face, delta, tmp_path) -> None:
    image = noise(mode=mode)
    done = protect_photo(save(image, tmp_path / "me.png"), delta)
    with Image.open(done.saved) as written:
        assert written.mode == "RGBA"
        assert written.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def damaged(folder: Path) -> Path:
    path = save(noise(), folder / "cut.jpg")
    path.write_bytes(path.read_bytes()[:500])
    return path


def text(folder: Path) -> Path:
    (folder / "notes.jpg").write_text("not a picture")
    return folder / "notes.jpg"


def animation(folder: Path) -> Path:
    frames = [noise(), noise().rotate(90)]
    return save(frames[0], folder / "a.gif", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.jpg", "none.jpg: no such file: name a photo"),
        (lambda folder: folder, "is a folder: name a photo"),
        (text, "notes.jpg cannot be read (not an image)"),
        (damaged, "cut.jpg cannot be read"),
        (animation, "a.gif is animated (2 frames): give a still photo"),
        (lambda f: save(Image.new("F", (9, 9)), f / "f.tif"), "has mode F: save it as 8-bit"),
    ],
)
def test_what_cannot_be_protected_is_said_in_one_line(make, message, delta, tmp_path) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        protect_photo(path, delta)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_cannot_be_made_is_a_users_error(a_face, delta, tmp_path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(AEFError, match=r"taken cannot be written to \(.*\): name another"):
        write_new(tmp_path / "taken", "me", ".png", b"")


def test_a_perturbation_per_image_is_refused(delta, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"expected \[1, 3, s, s\]: universal"):
        protect_photo(tmp_path / "me.png", delta.repeat(2, 1, 1, 1))


def test_mtcnn_finds_the_faces_in_a_large_photo_and_none_in_an_empty_one(delta, tmp_path) -> None:
    face = to_uint8(load_faces(split="test", n=1).images)[0].permute(1, 2, 0).numpy()
    big = Image.fromarray(face).resize((500, 500), Image.Resampling.BICUBIC)
    photo = Image.new("RGB", (2000, 900), "white")
    photo.paste(big, (1200, 200))
    photo.paste(big.resize((300, 300)), (300, 300))
    done = protect_photo(save(photo, tmp_path / "two.png"), delta)
    assert len(done.boxes) == 2
    (left, top, right, bottom), small = done.boxes
    assert 1200 < (left + right) / 2 < 1700
    assert 200 < (top + bottom) / 2 < 700
    assert 300 < right - left < 700 and 150 < small[2] - small[0] < 400
    plain = save(Image.new("RGB", (300, 200), "white"), tmp_path / "plain.png")
    with pytest.raises(NoFace, match="MTCNN finds no face in 300 x 200 pixels"):
        protect_photo(plain, delta)
