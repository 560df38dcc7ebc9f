"""The two bars an embedded generator must clear: its edits are right, and it can be interrupted."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from aef_core.atomic import replacement, write_text
from aef_core.config import ASSETS
from aef_core.faces import FaceBatch, load_faces
from aef_core.faces.detection import detected
from aef_core.metrics import SUCCESS_THRESHOLD, Evaluator, per_model, psnr
from aef_core.models import DeepfakeModel, HiSD
from aef_core.models.base import attribute_index
from aef_core.models.judge import predict_attributes
from aef_core.models.zoo import load_zoo, zoo_table
from aef_core.perturbation import PerturbationConfig
from companion.studies.references import single_model

BARS = {
    "celeba64": {"edit success": 0.80, "specialist L2_mask": SUCCESS_THRESHOLD},
    "faces128": {
        "edit success": 0.85,
        "MTCNN finds a face": 0.97,
        "reconstruction PSNR": 22.0,
        "specialist L2_mask": 0.10,
    },
}
NO_BAR = {("faces128", "specialist L2_mask", "AttGAN")}  # the resistant one, in the papers too
REFERENCES = 4
SHOWN = [13, 50, 3]  # rows of the embedded test faces in the model card's picture
DETECT = 40  # faces per edit shown to MTCNN
SINGLE_MODEL = PerturbationConfig(step_size=2.5e-3, steps=100, batch=8, feature_weight=0.0)


@torch.no_grad()
def edit_quality(model: DeepfakeModel, faces: FaceBatch) -> pd.Series:
    """Success, strength and fidelity of a generator's edits.

    Success: share of edits in which the independent classifier sees the asked-for attribute, over
    faces that did not have it as asked before. The frame, the outer six pixels, is mostly
    background: its change says whether the background is kept.
    """
    hits, changes, frames, faces_left = {}, [], [], []
    inside = (..., slice(6, -6), slice(6, -6))
    for edit in model.edits:
        target = model.target_attributes(faces.attributes, edit)
        column = attribute_index(edit)
        rows = (target != faces.attributes)[:, column]
        forged = model(faces.images, model.conditions(faces.attributes, edit))
        found = predict_attributes(forged[rows])[:, column]
        hits[edit] = (found == target[rows, column]).float().mean().item()
        change = (forged - faces.images)[rows].abs()
        changes.append(change.mean().item())
        outside = change.sum() - change[inside].sum()
        frames.append(outside.item() / (change.numel() - change[inside].numel()))
        faces_left.append(detected(forged[:DETECT]).float().mean().item())
    copied = reconstruct(model, faces)
    styled = isinstance(model, HiSD) and "Eyeglasses" in model.edits
    return pd.Series(
        {
            "edit success": sum(hits.values()) / len(hits),
            "edit L1": sum(changes) / len(changes),
            "edit L1 in the frame": sum(frames) / len(frames),
            "MTCNN finds a face": sum(faces_left) / len(faces_left),
            "reconstruction L1": (copied - faces.images).abs().mean().item(),
            "reconstruction PSNR": psnr(copied, faces.images).mean(),
            **{f"success {edit}": value for edit, value in hits.items()},
            **({"success glasses of others": glasses_of_others(model, faces)} if styled else {}),
        }
    )


@torch.no_grad()
def glasses_of_others(model: HiSD, faces: FaceBatch) -> float:
    """Edit success of HiSD's glasses where photos of wearers show which, as the papers attack it.

    The first four wearers among the faces lend theirs to all who wear none; NaN without wearers.
    """
    column = attribute_index("Eyeglasses")
    wears = faces.attributes[:, column].bool()
    plain, shares = faces[(~wears).nonzero().flatten()], []
    for i in wears.nonzero().flatten()[:REFERENCES].tolist():
        c = model.conditions(plain.attributes, "Eyeglasses", reference=faces.images[i : i + 1])
        shares.append(predict_attributes(model(plain.images, c))[:, column].float().mean().item())
    return sum(shares) / len(shares) if shares else float("nan")


def reconstruct(model: DeepfakeModel, faces: FaceBatch) -> Tensor:
    """What the generator returns when asked to change nothing."""
    return model(faces.images, model.keep_condition(faces.images, faces.attributes))


@torch.no_grad()
def edits_shown(zoo: Mapping[str, DeepfakeModel], faces: FaceBatch) -> dict[str, dict[str, Tensor]]:
    """Pictures for `plots.grids.edit_grid`: per generator the faces, unedited and after each edit.

    Gender and age turn into the other one. Returned images have the shape of `faces.images`.
    """
    return {
        name: {"original": faces.images, "unedited": reconstruct(model, faces)}
        | {e: model(faces.images, model.conditions(faces.attributes, e)) for e in model.edits}
        for name, model in zoo.items()
    }


def interruption(name: str, model: DeepfakeModel, train: FaceBatch, test: FaceBatch) -> pd.Series:
    """Interruption by a perturbation made for this generator alone, on unseen faces."""
    run = single_model({name: model}, train, SINGLE_MODEL)[name]
    table = Evaluator({name: model}, test)(run.delta)
    means = per_model(table).loc[name]
    return pd.Series(
        {
            "specialist L2_mask": means["l2_mask"],
            "specialist SR_mask": means["sr_mask"],
            "empty masks": table["excluded"].mean(),
        }
    )


def measure(
    celeba: Path | None, n: int, name: str = "celeba64", models: list[str] | None = None
) -> pd.DataFrame:
    """All bars for the whole zoo or for some of its generators, one column each."""
    zoo = load_zoo(name, models=models, device="cpu")
    size = next(iter(zoo.values())).image_size
    source = {"source": "celeba", "root": celeba} if celeba else {"source": "embedded"}
    train = load_faces(**source, split="train", n=128, size=size)
    test = load_faces(**source, split="test", n=n, size=size)
    return pd.DataFrame(
        {
            name: pd.concat([edit_quality(model, test), interruption(name, model, train, test)])
            for name, model in zoo.items()
        }
    )


def report(
    celeba: Path | None,
    n: int,
    write: bool,
    zoo: str = "celeba64",
    models: list[str] | None = None,
) -> None:
    """Print checksums and bars; say which are missed; optionally keep the numbers.

    Where only some `models` are measured anew, the others' numbers are those that were kept.
    """
    for name, entry in zoo_table(zoo).items():
        print(f"{name:13} {entry['sha256'][:16]}  {json.dumps(entry['settings'])}")
    table, path = measure(celeba, n, zoo, models), ASSETS / zoo / "bars.json"
    if models and path.exists():
        table = table.combine_first(pd.read_json(path).drop(columns=models, errors="ignore"))
        table = table[[m for m in zoo_table(zoo) if m in table]]
    on = "held-out CelebA faces" if celeba else "embedded test faces"
    print(f"\nMeasured on {n} {on}, eps 0.05 on [-1, 1] images:\n")
    print(table.round(3).to_string(na_rep=""))
    print("\n".join(verdicts(table, zoo)))
    if write:
        write_text(path, table.round(4).to_json(indent=1) + "\n")
        draw_edits(zoo, ASSETS / zoo / "edits.jpg")


def verdicts(table: pd.DataFrame, zoo: str) -> list[str]:
    """Who clears which bar, one line per bar; a generator without a bar is not counted."""
    lines = []
    for bar, least in BARS[zoo].items():
        barred = [m for m in table if (zoo, bar, m) not in NO_BAR]
        missed = [m for m in barred if table.loc[bar, m] < least]
        passed, below = len(barred) - len(missed), ", ".join(missed) or "none"
        lines.append(f"{bar} >= {least}: {passed} of {len(barred)}; below: {below}")
    return lines


def draw_edits(name: str, path: Path) -> None:
    """Keep a picture of what the zoo does to faces of nobody, for its model card."""
    from companion import plots

    zoo = load_zoo(name, device="cpu")
    size = next(iter(zoo.values())).image_size
    faces = load_faces("embedded", "test", size=size)[SHOWN]
    plots.use_style()
    fig = plots.grids.edit_grid(edits_shown(zoo, faces))
    with replacement(path) as temporary:
        fig.savefig(temporary, dpi=130, pil_kwargs={"quality": 90})
