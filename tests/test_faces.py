"""Faces: embedded and loaded, with the right labels, and refused with a reason when bad."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from aef_core.config import ASSETS
from aef_core.faces import (
    SPLITS,
    FaceBatch,
    check_images,
    detection,
    from_uint8,
    load_faces,
    sources,
    to_uint8,
)
from aef_core.faces.detection import NoFace, crop_face
from aef_core.faces.pictures import open_picture
from aef_core.faces.sources import split_of
from aef_core.models import ATTRIBUTES
from companion.studies.detection import detected
from companion.training import embedded_faces
from companion.training.embedded_faces import TORN
from companion.training.face_pool import Candidate

from .conftest import make_faces


@pytest.fixture(scope="module")
def sheets() -> dict[str, FaceBatch]:
    return {split: load_faces(split=split) for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_embedded_faces_are_enough_labelled_and_in_range(sheets, split: str) -> None:
    faces = sheets[split]
    assert faces.images.shape == (495, 3, 128, 128)
    assert faces.images.min() >= -1
    assert faces.images.max() <= 1
    share = faces.attributes.float().mean(dim=0)
    for name in ("Male", "Young", "Black_Hair", "Blond_Hair", "Brown_Hair"):
        assert 0.05 < share[ATTRIBUTES.index(name)] < 0.95, name


def test_embedded_splits_share_no_face(sheets) -> None:
    train, test = (sheets[split] for split in SPLITS)
    assert not set(train.names) & set(test.names)
    small = [F.avg_pool2d(faces.images, 2).flatten(1) for faces in (train, test)]
    assert torch.cdist(*small).min() > 5, "two faces are nearly the same picture"


@pytest.mark.parametrize("split", SPLITS)
def test_torn_faces_are_left_out_and_the_others_keep_their_tile(sheets, split: str) -> None:
    faces, sheet = sheets[split], open_picture(ASSETS / f"faces_{split}.webp")
    places = [int(name[-3:]) for name in faces.names]
    assert not set(places) & set(TORN[split])
    assert len(places) + len(TORN[split]) == (sheet.width // 128) * (sheet.height // 128)
    row, column = divmod(places[-1], sheet.width // 128)
    tile = sheet.crop((128 * column, 128 * row, 128 * (column + 1), 128 * (row + 1)))
    assert (to_uint8(faces.images[-1]).permute(1, 2, 0).numpy() == np.asarray(tile)).all()


def test_the_sheets_that_are_made_are_those_that_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = to_uint8(load_faces("embedded", "train", n=32).images).permute(0, 2, 3, 1).numpy()
    labels = dict.fromkeys(ATTRIBUTES, 0) | {"Male": 1}
    chosen = [Candidate(tile, (0, 1, 2), labels, *[0.0] * 4) for tile in pictures]
    embedded_faces.save(tmp_path, {"train": chosen})
    monkeypatch.setattr(sources, "ASSETS", tmp_path)
    faces = load_faces("embedded", "train")
    assert len(faces) == 31, "the tile at 21 counts as torn"
    assert faces.attributes[:, ATTRIBUTES.index("Male")].all()
    # the backdrop is out of focus, the head is as it was
    middle = to_uint8(faces.images)[:21, :, 40:80, 50:78].permute(0, 2, 3, 1).numpy()
    assert np.abs(middle.astype(int) - pictures[:21, 40:80, 50:78]).mean() < 4  # of 255: WebP


def test_other_sizes_are_resized() -> None:
    stored, smaller = (load_faces(split="train", n=4, size=s).images for s in (128, 96))
    again = F.interpolate(stored, 96, mode="bicubic", antialias=True).clamp(-1, 1)
    assert (smaller - again).abs().mean() < 0.02
    assert load_faces(split="train", n=2, size=256).images.shape[-1] == 256


def test_mtcnn_finds_the_embedded_faces() -> None:
    faces = load_faces(split="test", n=8)
    assert detected(faces.images).float().mean() >= 0.85


def test_faces_are_found_alike_in_batches_and_one_by_one(monkeypatch) -> None:
    images = load_faces(split="test", n=5).images
    images[[1, 4]] = 0.0
    found = detected(images)
    for batch in (1, 3):
        monkeypatch.setattr(detection, "BATCH", batch)
        assert torch.equal(detected(images), found)
    assert not found[[1, 4]].any()
    assert detected(images[:0]).shape == (0,)
    with pytest.raises(NoFace, match="64 x 64"):
        crop_face(Image.new("RGB", (64, 64), "grey"))


def test_a_found_face_is_cropped_square() -> None:
    pixels = to_uint8(load_faces(split="test", n=1).images)[0].permute(1, 2, 0).numpy()
    scene = Image.new("RGB", (500, 400), (90, 120, 90))
    scene.paste(Image.fromarray(pixels).resize((200, 200)), (220, 120))
    crop = crop_face(scene)
    assert abs(crop.width - crop.height) <= 1
    assert 100 < crop.width < 300


def write_celeba(root: Path, n: int = 20) -> None:
    """A set in the official layout whose picture brightness tells which row it is."""
    (root / "img_align_celeba").mkdir(parents=True)
    rows = [f"{n}", " ".join(ATTRIBUTES)]
    for i in range(n):
        name = f"{i + 1:06d}.png"
        Image.new("RGB", (178, 218), (10 * i,) * 3).save(root / "img_align_celeba" / name)
        labels = ["1" if (i >> bit) & 1 else "-1" for bit in range(len(ATTRIBUTES))]
        rows.append(f"{name}  {' '.join(labels)}")
    (root / "list_attr_celeba.txt").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("packed", [False, True])
def test_celeba_labels_belong_to_their_image(tmp_path: Path, packed: bool) -> None:
    root = tmp_path / "celeba"
    write_celeba(root)
    if packed:
        with zipfile.ZipFile(tmp_path / "celeba.zip", "w") as z:
            for file in root.rglob("*.*"):
                z.write(file, file.relative_to(tmp_path))
        root = tmp_path / "celeba.zip"
    faces = load_faces("celeba", "train", root=root, size=8)
    assert len(faces) == 18
    for image, labels, name in zip(faces.images, faces.attributes, faces.names, strict=True):
        row = round((image.mean().item() + 1) * 127.5 / 10)
        assert name == f"{row + 1:06d}.png"
        assert labels.tolist() == [(row >> bit) & 1 for bit in range(len(ATTRIBUTES))]
    test = load_faces("celeba", "test", root=root, size=8)
    assert not set(test.names) & set(faces.names)


def test_labels_without_their_image_are_reported(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    (tmp_path / "img_align_celeba" / "000003.png").unlink()
    with pytest.raises(ValueError, match=r"000003\.png has labels but no image"):
        load_faces("celeba", "train", root=tmp_path, size=8)


def write_people(root: Path, people: int = 30) -> None:
    for person in range(people):
        folder = root / f"Person_{person}"
        folder.mkdir(parents=True)
        for photo in (1, 2):
            image = Image.effect_noise((250, 250), 60).convert("RGB")
            image.save(folder / f"Person_{person}_{photo:04d}.png")


def test_lfw_people_are_on_one_side_only(tmp_path: Path) -> None:
    write_people(tmp_path)
    train = load_faces("lfw", "train", root=tmp_path, size=64)
    test = load_faces("lfw", "test", root=tmp_path, size=64)
    assert len(train) + len(test) == 60
    people = [{Path(name).parent.name for name in split.names} for split in (train, test)]
    assert not people[0] & people[1]
    assert {split_of(p) for p in people[1]} == {"test"}


def test_ffpp_frames_are_cropped_to_the_face(tmp_path: Path) -> None:
    pixels = to_uint8(load_faces(split="test", n=1).images)[0].permute(1, 2, 0).numpy()
    for video in ("003", "004", "005"):
        scene = Image.new("RGB", (480, 360), (90, 120, 90))
        scene.paste(Image.fromarray(pixels).resize((220, 220)), (200, 90))
        (tmp_path / video).mkdir()
        scene.save(tmp_path / video / "0000.png")
    split = split_of("003")
    faces = load_faces("ffpp", split, root=tmp_path, n=1)
    assert faces.images.shape == (1, 3, 128, 128)
    # a crop of the face, not of the wall around it
    assert faces.images[0].std() > 0.2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_grey_palette_and_transparent_pictures_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.effect_noise((64, 64), 90).convert("RGB").convert(mode)
    image.save(tmp_path / "a.png")
    faces = load_faces("folder", split_of("a.png"), root=tmp_path, size=64)
    expected = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(to_uint8(faces.images)[0], expected)


def bad_text(folder: Path) -> None:
    (folder / "a.png").write_text("not an image")


def bad_truncated(folder: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(folder / "a.png")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:600])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_text, "a.png cannot be read"),
        (bad_truncated, "a.png cannot be read"),
    ],
)
def test_bad_images_are_named(tmp_path: Path, spoil, message: str) -> None:
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_faces("folder", split_of("a.png"), root=tmp_path)


def test_missing_or_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no images"):
        load_faces("folder", root=tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder or zip"):
        load_faces("folder", root=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"source": "imagenet"}, "unknown face source 'imagenet'; known: embedded, celeba"),
        ({"split": "val"}, "unknown split 'val'"),
        ({"n": 0}, "n must be a whole number of at least 1"),
        ({"n": 10**6}, "1000000 were asked for"),
        ({"source": "lfw"}, "needs a root"),
    ],
)
def test_bad_requests_are_refused(request_: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_faces(**request_)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 8, 8), r"shape \(2, 1, 8, 8\)"),
        (torch.zeros(3, 8, 8), r"shape \(3, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), "no images"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "torch.uint8"),
        (torch.full((1, 3, 8, 8), 200.0), r"span \[200, 200\]"),
        (torch.full((2, 3, 8, 8), float("nan")), "image 0 has NaN"),
    ],
)
def test_bad_tensors_are_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_images(images)


def test_labels_must_match_the_images() -> None:
    faces = make_faces(4)
    with pytest.raises(ValueError, match="one row per image"):
        FaceBatch(faces.images, faces.attributes[:3], faces.names)
    with pytest.raises(ValueError, match="3 names for 4 images"):
        FaceBatch(faces.images, faces.attributes, faces.names[:3])


def test_eight_bits_survive_the_round_trip() -> None:
    pixels = torch.from_numpy(np.arange(256, dtype=np.uint8))
    assert torch.equal(to_uint8(from_uint8(pixels)), pixels)
