"""Identity: known distances, missing faces counted, and one line where no embedder can be had."""

import sys
import urllib.error
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from aef_core.metrics import Evaluator
from companion.studies import identity
from companion.studies.identity import (
    Embedder,
    NoEmbedder,
    identity_means,
    identity_table,
    load_embedder,
)

from .conftest import make_faces, tiny_zoo

BOX = np.array([0, 0, 256, 256])


def by_colour(find: object = None) -> Embedder:
    """Mean colour as identity: real code paths, a code that can be computed by hand."""
    return Embedder(
        "colour",
        lambda photo, box: np.asarray(photo, np.float32).mean((0, 1)),
        find or (lambda photos: [BOX] * len(photos)),
    )


def test_codes_keep_order_and_are_nan_without_a_face() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 3, 32, 32)
    bright = by_colour(lambda photos: [BOX if np.asarray(p).mean() > 64 else None for p in photos])
    codes = bright(images)
    assert codes[0].isnan().all()
    assert codes[1:].tolist() == [[128, 128, 128], [255, 255, 255]]
    nobody = by_colour(lambda photos: [None] * len(photos))(images)
    assert nobody.shape == (3, 1)
    assert nobody.isnan().all()


def test_compare_by_hand() -> None:
    gallery = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    known = torch.tensor([True, True, False])
    probes = torch.tensor([[0.0, 1.0], [0.0, 0.0], [9.0, 9.0]])
    scores = identity._compare(probes, gallery, known)
    assert scores["distance"][:2].tolist() == [1.0, 5.0]
    assert np.isnan(scores["distance"][2])
    assert scores["top1"].tolist() == [True, False, False]
    assert scores["excluded"].tolist() == [False, False, True]
    none = identity._compare(torch.full((3, 1), float("nan")), gallery, known)
    assert not none["found"].any()
    assert not none["top1"].any()


def test_table_has_both_states_and_zero_delta_changes_nothing() -> None:
    zoo = {"HiSD": tiny_zoo()["HiSD"]}
    evaluator = Evaluator(zoo, make_faces(4))
    table = identity_table(evaluator, torch.zeros(1, 3, 32, 32), by_colour())
    assert len(table) == 4 * len(zoo["HiSD"].edits) * 2
    means = identity_means(table)
    before, after = means.loc[("HiSD", "forged")], means.loc[("HiSD", "forged after protection")]
    assert before["pairs"] == after["pairs"] == 4 * len(zoo["HiSD"].edits)
    assert after["distance"] == pytest.approx(before["distance"], rel=0.2)
    assert (table["found"]).all()


def offline(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no route to host")


@pytest.fixture
def no_weights(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("facenet_pytorch.models.inception_resnet_v1.download_url_to_file", offline)


@pytest.mark.usefixtures("no_weights")
def test_offline_and_without_dlib_is_one_line_that_names_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(NoEmbedder, match=r"no route to host.*dlib is missing.*\[faces\]") as caught:
        load_embedder()
    assert "\n" not in str(caught.value)
    with pytest.raises(NoEmbedder, match="not on this machine"):
        load_embedder("facenet", download=False)
    with pytest.raises(NoEmbedder, match=r"pip install 'aef-companion\[faces\]'"):
        load_embedder("dlib")
    with pytest.raises(ValueError, match="unknown embedder 'arcface'"):
        load_embedder("arcface")


def test_only_damaged_weights_are_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(words: str) -> Callable:
        def network(pretrained: str) -> None:
            raise RuntimeError(words)

        return network

    network = "facenet_pytorch.InceptionResnetV1"
    monkeypatch.setattr(network, complain("PytorchStreamReader failed reading zip archive"))
    with pytest.raises(NoEmbedder, match="is damaged: delete it"):
        load_embedder("facenet")
    monkeypatch.setattr(network, complain("a fault of torch's own"))
    with pytest.raises(RuntimeError, match="torch's own") as caught:
        load_embedder("facenet")
    assert not isinstance(caught.value, NoEmbedder)


@pytest.mark.usefixtures("no_weights")
def test_offline_falls_back_on_dlib_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(identity, "_dlib", lambda: by_colour())
    assert load_embedder().name == "colour"
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("identity by dlib: FaceNet's weights cannot be downloaded")


def test_dlib_codes_tell_the_embedded_faces_apart() -> None:
    pytest.importorskip("dlib")
    from aef_core.faces import load_faces

    faces = load_faces(split="test", n=2).images
    codes = load_embedder("dlib")(faces)
    assert codes.shape == (2, 128)
    assert torch.dist(codes[0], codes[1]) > 0.1


def test_facenet_crops_with_mtcnn_and_has_unit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real network with random weights: what is downloaded is not needed to check the path."""
    import facenet_pytorch

    def untrained(pretrained: str) -> torch.nn.Module:
        torch.manual_seed(0)
        return network()

    network = facenet_pytorch.InceptionResnetV1
    monkeypatch.setattr("facenet_pytorch.InceptionResnetV1", untrained)
    photo = Image.fromarray((make_faces(1, size=64).images[0].permute(1, 2, 0).numpy() * 127 + 128)
                            .astype(np.uint8))  # fmt: skip
    code = load_embedder("facenet").embed(photo, np.array([8.0, 8.0, 56.0, 56.0]))
    assert code.shape == (512,)
    assert np.linalg.norm(code) == pytest.approx(1, abs=1e-4)
