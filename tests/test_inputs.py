"""Hostile files: pictures, labels, zips, weights and names end in one line that names the culprit.

What is accepted must be right; what is not is refused by an `AEFError`, quickly and on one line.
"""

import ast
import io
import os
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from aef_core.atomic import check_writable, replacement, write_new
from aef_core.config import REPOSITORY, default_device
from aef_core.errors import AEFError, BadInput, NotWritable
from aef_core.faces import FaceBatch, load_faces, sources
from aef_core.faces import photos as photos_module
from aef_core.faces.detection import find_faces
from aef_core.faces.labels import read_labels
from aef_core.faces.photos import protect_photo
from aef_core.faces.pictures import open_picture, read_picture, upright
from aef_core.models import ARCHITECTURES, ATTRIBUTES
from aef_core.models.base import columns
from aef_core.models.judge import AttributeClassifier
from aef_core.models.weights import BadCheckpoint, load_weights
from aef_core.models.zoo import load_zoo
from aef_core.perturbation import PerturbationConfig

from .conftest import make_faces, tiny_zoo


def one_line(error: BaseException) -> str:
    assert isinstance(error, AEFError)
    assert len(str(error).splitlines()) == 1
    return str(error)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def noise(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB").convert(mode)


EPS_FILE = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
FLOAT = encoded(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF")
PICTURES = {
    "EPS under a photo's name": (EPS_FILE, "not an image"),
    "PPM, a format not named": (b"P6 2 2 255\n" + bytes(12), "not an image"),
    "empty": (b"", "not an image"),
    "bomb, 40000 x 40000": (png(40_000, 40_000), "more than 80 million pixels"),
    "just above the limit": (png(8_000, 10_001), "more than 80 million pixels"),
    "float": (FLOAT, "mode F"),
    "LAB": (encoded(Image.new("LAB", (9, 9)), "TIFF"), "mode LAB"),
    "cut JPEG": (encoded(noise(), "JPEG")[:600], "cannot be read"),
    "cut WEBP": (encoded(noise(), "WEBP")[:200], "cannot be read"),
    "no pixels behind the header": (png(30, 30), "cannot be read"),
    "no width": (png(0, 30), "cannot be read"),
    "animation": (
        encoded(noise(), "GIF", save_all=True, append_images=[noise()]),
        "animated (2 frames)",
    ),
}


@pytest.mark.parametrize(("content", "message"), PICTURES.values(), ids=PICTURES)
def test_an_odd_picture_is_refused_on_one_line(content: bytes, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_picture(content, "odd.jpg")
    said = one_line(caught.value)
    assert said.startswith("odd.jpg ")
    assert message in said


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "convert", decoded)
    with pytest.raises(BadInput, match="million pixels"):
        open_picture(png(9_000, 9_000))


def test_pictures_with_damaged_bytes_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"):
        good = np.frombuffer(encoded(noise(), kind), np.uint8)
        for _ in range(20):
            bad = good.copy()
            where = rng.integers(0, min(len(bad), 400), 4)
            bad[where] = rng.integers(0, 256, 4)
            try:
                assert open_picture(bad.tobytes(), "bad").mode == "RGB"
            except AEFError as error:
                one_line(error)


def test_orientation_is_applied_and_alpha_kept_only_on_request() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_picture(encoded(noise(40, 30), "JPEG", exif=exif)).size == (30, 40)
    clear = encoded(noise().convert("RGBA"))
    assert open_picture(clear).mode == "RGB"
    assert upright(read_picture(clear), keep_alpha=True).mode == "RGBA"


def within(seconds: float, call: Callable[[], object]) -> BaseException | None:
    """What a call raises; fails if it hangs."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "hangs"
    return caught[0] if caught else None


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "200000-G.ckpt"
    os.mkfifo(pipe)
    for call in (
        lambda: open_picture(pipe),
        lambda: load_faces("folder", root=pipe),
        lambda: load_weights(ARCHITECTURES["StarGAN"](), pipe),
    ):
        assert "is a pipe or a device" in one_line(within(5, call))
    assert "is a pipe or a device" in one_line(within(5, lambda: open_picture("/dev/zero")))


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte", ""])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(AEFError) as caught:
        open_picture(name)
    one_line(caught.value)


def test_pillow_and_mtcnn_have_one_door_each() -> None:
    found = []
    for root in ("aef_core", "notebooks/companion"):
        for path in (REPOSITORY / root).rglob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text()))
            calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
            found += [(path.name, c) for c in calls if c in ("Image.open", "MTCNN")]
    assert sorted(found) == [("detection.py", "MTCNN"), ("pictures.py", "Image.open")]


HEADER = "Smiling " + " ".join(ATTRIBUTES)
ROW = " ".join(["1"] * 13)
LABELS = {
    "1.0": (f"1\n{HEADER}\na.jpg 1.0 {ROW}", r"line 3 \(a.jpg\): Smiling is '1.0'"),
    "yes": (f"1\n{HEADER}\na.jpg {ROW} yes", r"line 3 \(a.jpg\): Young is 'yes'"),
    "nan": (f"2\n{HEADER}\na.jpg 1 {ROW}\nb.jpg nan {ROW}", r"line 4 \(b.jpg\): Smiling is 'nan'"),
    "+1": (f"1\n{HEADER}\na.jpg +1 {ROW}", "Smiling is '\\+1'"),
    "0": (f"2\n{HEADER}\na.jpg -1 {ROW}\nb.jpg 0 {ROW}", r"\(b.jpg\): Smiling is '0'"),
    "long row": (f"2\n{HEADER}\na.jpg 1 {ROW}\nb.jpg 1 1 {ROW}", "15 labels, expected 14"),
    "short row": (f"2\n{HEADER}\na.jpg 1 {ROW}\nb.jpg {ROW}", "13 labels, expected 14"),
    "twin": (f"2\n{HEADER}\na.jpg 1 {ROW}\na.jpg -1 {ROW}", r"line 4 \(a.jpg\).*already"),
    "cut": (f"9\n{HEADER}\na.jpg 1 {ROW}", "has 1 rows, its first line says 9"),
    "attribute twice": ("1\nYoung Young\na.jpg 1 1", "attribute Young is named twice"),
    "no header": (f"a.jpg 1 {ROW}", "two-header format"),
    "not UTF-8": (b"1\n\xff\xfe\na.jpg 1", "is not UTF-8 text"),
}


@pytest.mark.parametrize(("text", "message"), LABELS.values(), ids=LABELS)
def test_a_label_is_never_guessed(text: str | bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read_labels(text if isinstance(text, bytes) else text.encode(), "list.txt")
    assert one_line(caught.value).startswith("list.txt")


def test_minus_one_means_without() -> None:
    names, rows = read_labels(b"2\nMale Young\na.jpg 1 -1\nb.jpg -1 1\n", "t")
    assert names == ("Male", "Young")
    assert rows == {"a.jpg": (1, 0), "b.jpg": (0, 1)}


@pytest.mark.parametrize("value", [5, 255, -1, 0.5, float("nan")])
def test_attributes_are_zero_or_one(value: float) -> None:
    faces = make_faces(3)
    attributes = faces.attributes.to(torch.float32)
    attributes[1, 7] = value
    with pytest.raises(BadInput, match=r"image 1: Male is .*, expected 0 or 1"):
        FaceBatch(faces.images, attributes, faces.names)


def test_names_of_faces_differ() -> None:
    faces = make_faces(3)
    with pytest.raises(BadInput, match="two images are named 'a'"):
        FaceBatch(faces.images, faces.attributes, ("a", "b", "a"))


def zipped(path: Path, change: str) -> Path:
    method = zipfile.ZIP_DEFLATED if change == "method" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as z:
        z.writestr("a.png", encoded(noise()))
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    if change == "cut":
        raw = raw[: entry - 20]
    elif change == "CRC":
        raw[raw.index(b"IHDR") + 40] ^= 0xFF
    elif change == "encrypted":
        raw[6] |= 1
        raw[entry + 8] |= 1
    elif change == "method":
        raw[8:10] = raw[entry + 10 : entry + 12] = struct.pack("<H", 97)
    elif change == "name":
        raw[7] |= 8
        raw[entry + 9] |= 8
        raw[30] = raw[entry + 46] = 0xFF
    elif change == "bomb":
        raw[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("change", ["cut", "CRC", "encrypted", "method", "name", "bomb"])
def test_a_zip_that_cannot_be_read_is_named(change: str, tmp_path: Path) -> None:
    root = zipped(tmp_path / "set.zip", change)
    with pytest.raises(BadInput) as caught:
        load_faces("folder", sources.split_of("a.png"), root=root, size=8)
    assert "set.zip" in one_line(caught.value) or "a.png has 2048 MiB" in str(caught.value)


def test_a_file_that_is_no_zip_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadInput, match=r"notes\.txt is no folder and no readable zip"):
        load_faces("folder", root=tmp_path / "notes.txt")


def test_a_name_that_is_not_utf8_is_loaded(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    (tmp_path / name).write_bytes(encoded(noise()))
    faces = load_faces("folder", sources.split_of(name), root=tmp_path, size=8)
    assert faces.names == (name,)
    assert len(faces.fingerprint()) == 8


@pytest.mark.parametrize("size", [0, -1, 10**7, 64.0, "64"])
def test_a_size_out_of_range_is_refused(size: object) -> None:
    with pytest.raises(BadInput, match="size must be a whole number from 1 to 1024"):
        load_faces(size=size, n=1)


@pytest.mark.parametrize("asked", ["cuda:77", "meta", "xpu", "nonsense", "cpu:-3"])
def test_a_device_that_is_not_there_is_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEF_DEVICE", asked)
    with pytest.raises(BadInput, match=f"AEF_DEVICE='{asked}' is no device"):
        default_device()
    with pytest.raises(BadInput, match=f"device='{asked}' is no device"):
        load_zoo(models="StarGAN", device=asked)


@pytest.mark.parametrize("seed", [2**64 - 1, 2**63, -1])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(BadInput, match=r"seed (must be 0 or more|is out of range)"):
        PerturbationConfig(seed=seed)


def spoilt(value: Tensor, how: str) -> Tensor:
    if how in ("nan", "inf"):
        value = value.clone()
        value.view(-1)[-1] = float(how)
        return value
    if how == "1e300":
        return torch.full_like(value, 1e300, dtype=torch.float64)
    return value.to({"int": torch.int64, "bool": torch.bool, "complex": torch.complex64}[how])


@pytest.mark.parametrize("how", ["nan", "inf", "1e300", "int", "bool", "complex"])
def test_weights_that_are_no_finite_numbers_are_refused_by_key(how: str, tmp_path: Path) -> None:
    state = AttributeClassifier((2, 2)).state_dict()
    state["net.0.weight"] = spoilt(state["net.0.weight"], how)
    said = "NaN or infinite" if how in ("nan", "inf", "1e300") else f"of type {how}"
    if how != "complex":  # safetensors has no such type here
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(BadCheckpoint, match=rf"{said}.*net\.0\.weight") as caught:
            load_weights(AttributeClassifier((2, 2)), tmp_path / "w.safetensors")
        one_line(caught.value)
    weights = official_state("StarGAN")
    weights["main.0.weight"] = spoilt(weights["main.0.weight"], how)
    torch.save(weights, tmp_path / "w.ckpt")
    with pytest.raises(BadCheckpoint, match=rf"{said}.*main\.0\.weight") as caught:
        load_weights(ARCHITECTURES["StarGAN"](), tmp_path / "w.ckpt")
    one_line(caught.value)


def official_state(name: str) -> dict[str, Tensor]:
    return ARCHITECTURES[name]().state_dict()


def test_good_weights_load(tmp_path: Path) -> None:
    model, other = AttributeClassifier((2, 2)), AttributeClassifier((2, 2))
    save_file({k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()},
              tmp_path / "w.safetensors")  # fmt: skip
    load_weights(other, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert torch.equal(other.net[0].weight, stored["net.0.weight"].float())


class Trojan:
    def __reduce__(self) -> tuple:
        return (print, ("code ran",))


def test_the_refusal_of_a_pickle_does_not_advise_to_run_it(tmp_path: Path) -> None:
    torch.save(Trojan(), tmp_path / "w.ckpt")
    with pytest.raises(BadCheckpoint, match="holds code to run, which is refused") as caught:
        load_weights(ARCHITECTURES["StarGAN"](), tmp_path / "w.ckpt")
    assert "weights_only" not in one_line(caught.value)


def test_damaged_checkpoints_are_refused_on_one_line(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "w.ckpt"
    torch.save({"main.0.weight": torch.zeros(4)}, path)
    good = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
        bad = good.copy()
        bad[rng.integers(0, len(bad), 8)] = rng.integers(0, 256, 8)
        path.write_bytes(bad.tobytes())
        with pytest.raises(BadCheckpoint) as caught:
            load_weights(ARCHITECTURES["StarGAN"](), path)
        one_line(caught.value)


def test_a_pinned_checksum_is_checked(tmp_path: Path) -> None:
    torch.save(official_state("StarGAN"), tmp_path / "w.ckpt")
    with pytest.raises(BadCheckpoint, match=r"w\.ckpt does not match its SHA-256"):
        load_weights(ARCHITECTURES["StarGAN"](), tmp_path / "w.ckpt", sha256="0" * 64)


DELTA = torch.full((1, 3, 64, 64), 0.05)


@pytest.fixture
def a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos_module, "face_squares", lambda pixels: [(0, 0, 30, 30)])


@pytest.mark.parametrize("strength", [float("inf"), float("nan"), 1e30, 4.01, 0.0, -1.0])
def test_a_strength_that_spoils_a_photo_is_refused(strength: float, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="strength must be positive, at most 4"):
        protect_photo(tmp_path / "me.png", DELTA, strength=strength)


def test_a_strength_that_changes_nothing_protects_nothing(a_face: None, tmp_path: Path) -> None:
    noise().save(tmp_path / "me.png")
    with pytest.raises(BadInput, match=r"me\.png: no pixel changes at strength 1e-30"):
        protect_photo(tmp_path / "me.png", DELTA, strength=1e-30)
    assert [p.name for p in tmp_path.iterdir()] == ["me.png"]


def icc(space: bytes) -> bytes:
    body = bytes(12) + space + bytes(16) + b"acsp" + bytes(88)
    return struct.pack(">I", 4 + len(body)) + body


@pytest.mark.parametrize(
    ("profile", "kept"),
    [
        (icc(b"RGB "), True),
        (icc(b"GRAY"), False),
        (b"garbage", False),
        (icc(b"RGB ")[:-5], False),
    ],
)
def test_only_an_rgb_profile_goes_into_an_rgb_file(
    profile: bytes, kept: bool, a_face: None, tmp_path: Path
) -> None:
    noise().save(tmp_path / "me.png", icc_profile=profile)
    done = protect_photo(tmp_path / "me.png", DELTA)
    with Image.open(done.saved) as image:
        assert image.info.get("icc_profile") == (profile if kept else None)
    said = ("its colour profile is damaged, or not for RGB, and left out",)
    assert done.remarks == (() if kept else said)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (19, 400), (20, 20), (21, 300)])
def test_tiny_and_thin_pictures_have_no_face(size: tuple[int, int]) -> None:
    assert photos_module.face_squares(np.asarray(noise(*size))) == []


def test_faces_of_pictures_of_several_sizes_come_in_order() -> None:
    faces = load_faces(split="test", n=2).images
    one, two = (Image.fromarray(((x + 1) * 127.5).byte().permute(1, 2, 0).numpy()) for x in faces)
    large = [p.resize((256, 256), Image.Resampling.BICUBIC) for p in (one, two)]
    mixed = find_faces([large[0], Image.new("RGB", (9, 9)), large[1], one.resize((300, 300))])
    alone = [find_faces([p])[0] for p in large]
    assert [len(boxes) for boxes, _ in mixed][1] == 0
    for (boxes, scores), (own, sure) in zip((mixed[0], mixed[2]), alone, strict=True):
        assert torch.allclose(boxes, own) and torch.allclose(scores, sure)
        assert len(own) >= 1


def test_no_earlier_photo_is_lost_when_files_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_new(tmp_path, "me", ".png", b"first")

    def exhausted(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "open", exhausted)
    with pytest.raises(NotWritable, match="Too many open files"):
        write_new(tmp_path, "me", ".png", b"second")
    monkeypatch.undo()
    assert first.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["me.png"]


def test_writers_of_one_name_all_keep_their_photo(tmp_path: Path) -> None:
    contents = [bytes([i]) * 1000 for i in range(8)]
    writers = [
        threading.Thread(target=write_new, args=(tmp_path, "me", ".png", c)) for c in contents
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(p.read_bytes() for p in tmp_path.iterdir()) == contents


KILLED = """
import os, sys
from pathlib import Path
from aef_core import atomic
atomic.os.fsync = lambda *_: os._exit(9)
atomic.write_new(Path(sys.argv[1]), "me", ".png", b"x" * 10000)
"""


def test_a_kill_leaves_no_half_photo(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, check=False)
    assert done.returncode == 9
    assert not list(tmp_path.glob("*.png"))


def test_without_links_a_new_file_still_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    paths = [write_new(tmp_path, "me", ".png", c) for c in (b"one", b"two")]
    assert [p.read_bytes() for p in paths] == [b"one", b"two"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacement(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replacement(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_protect_checks_first_and_one_bad_photo_ends_nothing(
    a_face: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aef_core.__main__ import app
    from aef_core.cli import shared

    class Made:
        delta, config = DELTA, {"zoo": ["StarGAN"]}

    order: list[str] = []
    monkeypatch.setattr(shared, "open_zoo", lambda *_: {})
    monkeypatch.setattr(shared, "make_run", lambda *_: order.append("optimised") or Made())
    monkeypatch.setattr(shared, "check_run", lambda *_: None)
    for name in ("a.png", "c.png"):
        noise().save(tmp_path / name)
    (tmp_path / "b.png").write_text("no picture")
    names = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    out = tmp_path / "out"

    done = CliRunner().invoke(app, ["protect", *names, "--out", str(out), "--check", "0"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"not protected: {names[1]}"
    assert sorted(p.name for p in out.iterdir()) == ["a-protected.png", "c-protected.png"]
    assert order == ["optimised"]

    for arguments in ([names[1]], [names[0], "--out", names[1]], [names[0], "--strength", "inf"]):
        assert CliRunner().invoke(app, ["protect", *arguments]).exit_code == 1
    assert order == ["optimised"], "a perturbation was made before its photos were looked at"


def test_a_folder_is_probed_without_a_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(NotWritable, match="file cannot take"):
        check_writable(tmp_path / "file")


@pytest.mark.parametrize("name", list(tiny_zoo()))
def test_the_condition_that_keeps_a_face(name: str) -> None:
    model, faces = tiny_zoo()[name], make_faces(3)
    c = model.keep_condition(faces.images, faces.attributes)
    if name == "HiSD":
        turns = torch.arange(3)  # three tags, three faces
        assert torch.equal(c[:, :3], torch.eye(3))
        assert torch.equal(c[:, 3:], model.extractors(faces.images)[turns, turns])
    else:
        own = columns(faces.attributes, model.attributes)
        assert torch.equal(c, own - 0.5 if name == "AttGAN" else own)
    assert model(faces.images, c).shape == faces.images.shape
