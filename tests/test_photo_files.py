"""A protected photo lies in a file like its own: size, quality, EXIF, colours; the photo stays.

And what is left of the protection in copies of that file.
"""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import ExifTags, Image, ImageCms
from PIL.JpegImagePlugin import get_sampling
from typer.testing import CliRunner

from aef_core.__main__ import app
from aef_core.cli import shared
from aef_core.faces import photos
from aef_core.faces.photos import Protected, protect_photo
from aef_core.faces.pictures import open_picture
from aef_core.metrics import photos as copies
from aef_core.metrics.photos import COPIES, in_words, left_in_copies
from aef_core.perturbation.objective import seeded

from .conftest import SIZE, tiny_zoo

EPS = 0.05
BOX = (32, 16, 112, 96)
DELTA = EPS * (2.0 * torch.randint(2, (1, 3, 64, 64), generator=seeded(0, "any")) - 1)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@pytest.fixture(autouse=True)
def _a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """MTCNN is slow: pretend it found one face."""
    monkeypatch.setattr(photos, "face_squares", lambda *_: [BOX])


def scene(width: int = 192, height: int = 128, mode: str = "RGB") -> Image.Image:
    """Smooth colours under a little grain, as a camera sees them."""
    draw = np.random.default_rng(0)
    coarse = Image.fromarray(draw.integers(40, 215, (4, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    grain = draw.normal(0, 3, (height, width, 1))
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).convert(mode)


def camera(orientation: int = 1) -> bytes:
    """EXIF as a phone writes it: camera, date, place, and a small picture of the same scene."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Model] = orientation, "Phone 12"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:01 12:00:00"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 29.0)
    scene(32, 24).save(small := io.BytesIO(), "JPEG")
    content = bytearray(exif.tobytes())
    tiff, length = memoryview(content)[6:], len(content) - 6
    order = "<" if bytes(tiff[:2]) == b"II" else ">"
    first = struct.unpack(order + "I", tiff[4:8])[0]
    entries = struct.unpack(order + "H", tiff[first : first + 2])[0]
    link = first + 2 + 12 * entries
    assert struct.unpack(order + "I", tiff[link : link + 4]) == (0,)
    tiff[link : link + 4] = struct.pack(order + "I", length)
    tiff.release()
    thumbnail = small.getvalue()
    second = struct.pack(order + "HHHIIHHIII", 2, 0x201, 4, 1, length + 30, 0x202, 4, 1,
                         len(thumbnail), 0)  # fmt: skip
    return bytes(content) + second + thumbnail


def moved(done: Protected) -> np.ndarray:
    return np.abs(done.after.astype(int) - done.before).max(axis=2)


def outside(change: np.ndarray) -> np.ndarray:
    left, top, right, bottom = BOX
    far = np.ones(change.shape, bool)
    far[top - 16 : bottom + 16, left - 16 : right + 16] = False  # a block of a JPEG is 16 wide
    return change[far]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [60, 93])
def test_a_jpeg_stays_one_at_its_own_quality(quality, subsampling, tmp_path) -> None:
    path = tmp_path / "me.JPG"
    scene().save(path, quality=quality, subsampling=subsampling, icc_profile=SRGB.tobytes())
    photo = path.read_bytes()
    done = protect_photo(path, DELTA)
    assert path.read_bytes() == photo
    assert done.saved == tmp_path / "me-protected.jpg"
    with Image.open(path) as before, Image.open(done.saved) as after:
        assert (after.format, after.size) == ("JPEG", before.size)
        assert after.quantization == before.quantization
        assert get_sampling(after) == subsampling
        assert after.info["icc_profile"] == SRGB.tobytes()
        assert np.array_equal(after, done.after), "what is measured is what was saved"
    change = moved(done)
    assert outside(change).mean() < 0.5, "hardly anything is lost by saving it again"
    assert change[BOX[1] : BOX[3], BOX[0] : BOX[2]].mean() > 1.5, "the photo's own compression eats"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_and_the_layout_it_tells_of_are_kept(orientation, tmp_path) -> None:
    path = tmp_path / "me.jpg"
    scene().save(path, quality=95, exif=camera(orientation))
    with Image.open(path) as photo:
        assert photo.getexif().get_ifd(ExifTags.IFD.IFD1), "the small picture is there"
    done = protect_photo(path, DELTA)
    assert done.before.shape[:2] == ((128, 192) if orientation < 5 else (192, 128))
    assert outside(moved(done)).mean() < 0.5, "else it was turned the wrong way"
    assert done.remarks == ("its EXIF says where it was taken",)
    with Image.open(path) as before, Image.open(done.saved) as after:
        assert after.size == before.size == (192, 128)
        ours, theirs = after.getexif(), before.getexif()
        assert ours == theirs and ours[ExifTags.Base.Orientation] == orientation
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            assert ours.get_ifd(directory) == theirs.get_ifd(directory) != {}
        assert not ours.get_ifd(ExifTags.IFD.IFD1), "an unprotected face"
    assert b"\xff\xd8\xff" not in done.saved.read_bytes()[2:]


def test_exif_is_left_out_on_request_and_the_photo_then_lies_upright(tmp_path) -> None:
    path = tmp_path / "me.jpg"
    scene().save(path, exif=camera(6))
    done = protect_photo(path, DELTA, keep_exif=False)
    with Image.open(done.saved) as after:
        assert after.size == (128, 192)
        assert not after.getexif()
    assert done.remarks == ()


def test_exif_that_one_segment_of_a_jpeg_cannot_hold_is_left_out_and_said(tmp_path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    content = exif.tobytes()
    pieces = (content[:60_000], b"Exif\0\0" + content[60_000:])
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in pieces)
    scene().save(plain := io.BytesIO(), "JPEG")
    path = tmp_path / "me.jpg"
    path.write_bytes(plain.getvalue()[:2] + segments + plain.getvalue()[2:])
    done = protect_photo(path, DELTA)
    assert done.remarks == ("its EXIF is damaged or too long, and left out",)
    with Image.open(done.saved) as after:
        assert not after.getexif()


def deep(colour: int, bands: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    side = 128
    values = np.asarray(scene(side, side).convert("RGB" if bands == 3 else "L"), ">u2") * 257 + 13
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values.reshape(side, -1))
    head = struct.pack(">IIBBBBB", side, side, 16, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c))
        for kind, c in parts
    )


@pytest.mark.parametrize(("colour", "bands"), [(0, 1), (2, 3)])
def test_sixteen_bits_become_eight_and_that_is_said(colour, bands, tmp_path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(deep(colour, bands))
    done = protect_photo(path, DELTA)
    expected = scene(128, 128).convert("RGB" if bands == 3 else "L").convert("RGB")
    assert np.array_equal(done.before, expected), "the upper 8 bits, neither clipped nor wrapped"
    assert done.remarks == ("its 16 bits a channel became 8-bit RGB",)
    assert not outside(moved(done)).any()


def test_cmyk_goes_through_its_own_profile(tmp_path) -> None:
    path = tmp_path / "print.jpg"
    scene(mode="CMYK").save(path, quality=95)
    done = protect_photo(path, DELTA)
    assert np.abs(done.before.astype(int) - np.asarray(scene())).mean() < 4
    assert done.remarks == ("its CMYK became 8-bit RGB",)
    with Image.open(done.saved) as after:
        assert (after.format, after.mode) == ("JPEG", "RGB")


def test_grey_becomes_colour_of_the_same_quality(tmp_path) -> None:
    path = tmp_path / "grey.jpg"
    scene(mode="L").save(path, quality=90)
    done = protect_photo(path, DELTA)
    assert done.remarks == ("its grey became 8-bit RGB",)
    assert outside(moved(done)).mean() < 1
    with Image.open(path) as before, Image.open(done.saved) as after:
        assert after.mode == "RGB"
        assert after.quantization[0] == before.quantization[0]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_outlives_a_turned_camera(kind, tmp_path) -> None:
    photo = scene(mode="RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    photo.save(path := tmp_path / f"me.{kind}", kind, lossless=True, exif=camera(6))
    done = protect_photo(path, DELTA)
    assert done.saved.suffix == ".png"
    with Image.open(path) as before, Image.open(done.saved) as after:
        assert after.getchannel("A").tobytes() == before.getchannel("A").tobytes()
        assert after.getexif()[ExifTags.Base.Orientation] == 6
    assert not outside(moved(done)).any()


class Made:
    """In the place of an optimised run."""

    delta, config = DELTA, {"zoo": ["StarGAN"]}


@pytest.fixture
def protect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """The command with a run at hand; returns what it prints."""
    monkeypatch.setattr(shared, "open_zoo", lambda *_: tiny_zoo())
    monkeypatch.setattr(shared, "make_run", lambda *_: Made())
    monkeypatch.setattr(shared, "check_run", lambda *_: None)
    arguments = ["--out", str(tmp_path / "out")]

    def call(*more: object) -> str:
        done = CliRunner().invoke(app, ["protect", *map(str, more), *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    return call


def test_many_photos_take_the_memory_of_one_and_stay_as_they_were(protect, tmp_path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(16)]
    for path in paths:
        scene(600, 400).save(path, exif=camera())
    before = [path.read_bytes() for path in paths]
    peaks = {}
    for count in (1, 2, 16):  # the first loads what all need
        tracemalloc.start()
        said = protect(*paths[:count], "--check", "0")
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    pixels = 600 * 400 * 3
    assert peaks[2] > 2 * pixels, "the peak sees pixels"
    assert peaks[16] < peaks[2] + pixels
    assert [path.read_bytes() for path in paths] == before
    assert said.count("-protected") == 16
    assert "16 of 16: its EXIF says where it was taken" in said


def test_what_is_left_is_printed_for_the_first_photo_unless_asked(protect, tmp_path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        scene().save(path)
    assert "what is left, on 1 of the photos" in protect(*paths)
    assert "what is left, on 2 of the photos" in protect(*paths, "--check", "2")
    assert "what is left" not in protect(*paths, "--check", "0")


def left(delta: torch.Tensor, folder: Path, kind: str = "png") -> pd.DataFrame:
    """What is left, in copies of a photo, by a zoo of random weights."""
    scene().save(path := folder / f"me.{kind}")
    return left_in_copies(tiny_zoo(), path, protect_photo(path, delta, folder), delta)


def test_every_copy_goes_through_every_generator(tmp_path) -> None:
    table = left(DELTA, tmp_path)
    zoo = tiny_zoo()
    asked = {(name, edit, copy) for name, m in zoo.items() for edit in m.edits for copy in COPIES}
    assert {*zip(table["model"], table["edit"], table["copy"], strict=True)} == asked
    assert len(table) == len(asked)
    assert table[["protected", "random"]].notna().to_numpy().any()


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_random_signs_are_their_own_floor(kind, tmp_path) -> None:
    signs = 2.0 * torch.randint(2, (1, 3, 64, 64), generator=seeded(0, "signs")) - 1
    table = left(EPS * signs, tmp_path, kind).dropna()
    assert (table["protected"] > 0).all()
    assert np.allclose(table["protected"], table["random"])


def test_what_a_copy_itself_loses_is_not_called_protection(tmp_path) -> None:
    scene().save(path := tmp_path / "me.png")
    pixels = np.asarray(open_picture(path))
    table = left_in_copies(tiny_zoo(), path, Protected(pixels, pixels, [BOX], path), DELTA)
    assert (table["protected"].dropna() == 0).all()
    assert (table["random"].dropna() > 0).all()


def test_a_coarse_pattern_outlives_what_a_fine_one_does_not(tmp_path) -> None:
    kept = {}
    for name, cell in (("fine", 1), ("coarse", 16)):
        delta = DELTA[..., : 64 // cell, : 64 // cell]
        delta = delta.repeat_interleave(cell, dim=2).repeat_interleave(cell, dim=3)
        means = left(delta, tmp_path).groupby("copy")["protected"].mean()
        kept[name] = means / means["same square"]
    assert kept["coarse"]["half size"] > 0.8
    assert (kept["fine"] < kept["coarse"])[["half size", "screenshot"]].all()


def test_the_forger_looks_for_the_face_in_the_copy(tmp_path, monkeypatch) -> None:
    """A square found elsewhere in the copy is cut there; one far away is another face."""
    scene().save(path := tmp_path / "me.png")
    done = protect_photo(path, DELTA)
    cut = {}
    for shift in (0, 6, 90):
        square = tuple(40 + shift + side for side in (0, 0, 80, 80))
        monkeypatch.setattr(copies, "face_squares", lambda *_, square=square: [square])
        pictures = [Image.fromarray(done.after)] * 3
        for name in ("same square", "found anew"):
            cut[name, shift] = copies._seen(pictures, BOX, SIZE, name, COPIES[name])
    exact = cut["same square", 6]
    assert torch.equal(exact, cut["found anew", 0])
    assert not torch.equal(exact, cut["found anew", 6])
    assert torch.equal(exact, cut["found anew", 90])


def test_the_table_says_in_words_what_lies_above_chance() -> None:
    columns = ["model", "edit", "copy", "protected", "random"]
    rows = [("A", "x", "half size", 0.2, 0.01), ("A", "y", "half size", 0.04, 0.01),
            ("A", "x", "JPEG 75", 0.002, 0.003), ("A", "y", "JPEG 75", np.nan, 0.1)]  # fmt: skip
    text = in_words([pd.DataFrame([row], columns=columns) for row in rows])
    assert text.splitlines()[0].split() == ["model", "A"]
    assert "half size  0.120  50% above" in text
    assert "JPEG 75    0.002   0% below" in text


def test_exif_that_cannot_be_read_is_left_out_and_said(tmp_path) -> None:
    content = bytearray(camera())
    place = content.index(b"2024:05:01")  # the date's entry points here: now it points nowhere
    content[content.index(struct.pack(">I", place - 6))] = 0x7F
    scene().save(path := tmp_path / "me.jpg", exif=bytes(content))
    done = protect_photo(path, DELTA)
    assert done.remarks == ("its EXIF is damaged or too long, and left out",)
    assert not outside(moved(done)).mean() > 0.5


def test_the_second_picture_of_an_mpo_is_left_out(tmp_path) -> None:
    path = tmp_path / "me.jpg"
    scene().save(path, "MPO", save_all=True, append_images=[scene(32, 24)], quality=90)
    done = protect_photo(path, DELTA)
    with Image.open(path) as before, Image.open(done.saved) as after:
        assert (before.format, after.format, after.size) == ("MPO", "JPEG", before.size)
        assert after.quantization == before.quantization
