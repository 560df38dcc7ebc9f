"""The detector attack: real gradients through MTCNN, and scores by hand."""

import pandas as pd
import pytest
import torch

from aef_core.faces import FaceBatch, load_faces
from aef_core.methods.poisoning import (
    DETECTION,
    detection_target,
    detector_failure,
    detector_references,
    face_boxes,
)
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.objective import Problem
from aef_core.weighting import make_rule
from companion.studies import detection as ds
from companion.studies.detection import detection_scores, matches


@pytest.fixture(scope="module")
def faces() -> FaceBatch:
    return load_faces(split="test", n=4)


def test_gradients_flow_from_every_net_to_the_photo(faces: FaceBatch) -> None:
    nets = detection_target(torch.device("cpu"))["MTCNN"]
    boxes = face_boxes(faces.images)
    assert (boxes[:, 2] > boxes[:, 0]).all()
    x = faces.images.clone().requires_grad_()
    logits, features = nets(x, boxes)
    assert features.shape[0] == len(faces)
    for name, values in logits.items():
        (gradient,) = torch.autograd.grad(values.sum(), x, retain_graph=True)
        assert gradient.flatten(1).abs().sum(dim=1).min() > 0, name
    assert not any(p.requires_grad for p in nets.parameters())


def test_the_logits_are_those_of_the_nets(faces: FaceBatch) -> None:
    """The last net's logit is the log odds of the probability it reports."""
    nets, seen = detection_target(torch.device("cpu"))["MTCNN"], []
    handle = nets.onet.register_forward_hook(lambda _m, _i, out: seen.append(out[2]))
    with torch.no_grad():
        logits, _ = nets(faces.images, face_boxes(faces.images))
    handle.remove()
    torch.testing.assert_close(logits["o"].sigmoid().flatten(), seen[0][:, 1])
    assert (logits["o"][:, 1] > 0).all(), "MTCNN no longer sees the face it was shown"


def test_poison_lowers_the_face_probability(faces: FaceBatch) -> None:
    target = detection_target(torch.device("cpu"))
    config = PerturbationConfig(steps=8, step_size=0.02, batch=4, init=0.02, momentum=0.8)
    before = detector_references(target, faces, 0, 4)["MTCNN"]
    *_, last = perturb(Problem(target, faces, objective=DETECTION), make_rule("uniform"), config)
    with torch.no_grad():
        logits, _ = target["MTCNN"]((faces.images + last.delta).clamp(-1, 1), before.conditions)
    after = torch.cat(list(logits.values()), dim=1)
    fired = before.outputs > 0.405
    assert after[fired].mean() < before.outputs[fired].mean() - 1
    assert last.delta.abs().max() <= config.eps
    history = pd.DataFrame(last.history)
    assert history["strength"].iloc[-1] > history["strength"].iloc[0]
    assert history["strength"].max() <= 1


def test_the_strength_of_a_batch_is_the_mean_over_its_photos(faces: FaceBatch) -> None:
    """Or micro-batches of TSDF's second stage would not add up."""
    target = detection_target(torch.device("cpu"))
    reference, x = detector_references(target, faces, 0, 4)["MTCNN"], faces.images.clone()
    x[::2] *= 0.5
    rows = torch.arange(4)
    with torch.no_grad():
        whole = detector_failure(target["MTCNN"], x, reference, rows, 0.3)
        single = [detector_failure(target["MTCNN"], x[[i]], reference, rows[[i]], 0.3)
                  for i in range(4)]  # fmt: skip
    torch.testing.assert_close(torch.stack(whole), torch.tensor(single).mean(dim=0))


def box(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_matching_by_hand() -> None:
    a = torch.cat([box(0, 0, 10, 10), box(20, 20, 30, 30)])
    assert matches(a, a) == 2
    assert matches(a, box(0, 0, 10, 8)) == 1  # IoU 0.8
    assert matches(a, box(0, 0, 10, 6)) == 0  # IoU 0.6
    assert matches(a[:1], torch.cat([a[:1], a[:1]])) == 1, "a face is found once"
    assert matches(a, torch.zeros(0, 4)) == 0


def test_scores_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three faces before; after: one found again, one elsewhere, one gone."""
    a, b, gone = box(0, 0, 10, 10), box(40, 40, 60, 60), torch.zeros(0, 4)
    one, none = torch.tensor([0.9]), torch.zeros(0)
    answers = iter([[(a, one)] * 3, [(a, one), (b, one), (gone, none)]])
    monkeypatch.setattr(ds, "detect_boxes", lambda _images: next(answers))
    scores = detection_scores(torch.zeros(3, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    assert scores["precision"] == pytest.approx(1 / 2)
    assert scores["recall"] == pytest.approx(1 / 3)
    assert scores["f1"] == pytest.approx(2 / 5)
    assert scores["duq"] == pytest.approx(0, abs=1e-6)
    assert scores["box_change"] == pytest.approx(-100 / 3)
    assert scores["confidence"] == pytest.approx(0, abs=1e-6)


def test_no_perturbation_leaves_every_face_found(faces: FaceBatch) -> None:
    """But for 8-bit rounding, which the embedded faces have had already."""
    scores = detection_scores(faces.images, torch.zeros_like(faces.images[:1]))
    assert scores["f1"] == 1
    assert scores["box_change"] == 0
