"""What a cycle hides, and what a forger who smooths photos takes away: trained arms and the zoo."""

import numpy as np
import pandas as pd
import torch

from aef_core.faces import FaceBatch
from aef_core.metrics import evaluate, nonempty_mean
from aef_core.models import DeepfakeModel
from aef_core.models.base import attribute_index
from aef_core.models.judge import predict_attributes
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run
from companion.studies.arms import FRAGILITY, SUCCESS
from companion.studies.hiding import OCTAVES, Filtered, band_power, way_back
from companion.studies.references import single_model
from companion.studies.study import Lab


def trained_ways_back(table: pd.DataFrame) -> pd.DataFrame:
    """What damages add to the ways back of the trained arms, as `growth_of_ways_back` has it.

    Mean over seeds; column panel names architecture and arm.
    """
    parts = table["measure"].str.extract(r"way back of (?P<of>\w+): (?P<damage>.+)")
    rows = table.join(parts).dropna(subset=["of"])
    rows = rows.assign(panel=rows["architecture"] + ", " + rows["arm"], level=rows["setting"])
    by = ["panel", "damage", "level", "of"]
    return _added(rows.groupby(by, sort=False)["value"].mean().rename("error").reset_index())


def trained_spectra(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of a single-model reference's power per octave, mean over seeds; one row per arm.

    Columns: the octave's lower edge, in cycles per pixel.
    """
    power = table[table["measure"] == "specialist power"]
    by = ["architecture", "arm", "setting"]
    means = power.groupby(by, sort=False)["value"].mean().unstack("setting")
    return means.rename_axis(columns="from, cycles per pixel")


def trained_smoothing(table: pd.DataFrame) -> pd.DataFrame:
    """L2_mask and edit success of the trained arms under a smoothing forger, mean over seeds.

    Of seeds measured with every cutoff; the defender is aware of the filter. Columns: a pair per
    cutoff, infinity for none.
    """
    last = table[table["arm"] != "start"]
    ends = last.groupby(["architecture", "seed", "arm"])["iteration"].transform("max")
    last = last[last["iteration"] == ends]
    cut = last["measure"].str.contains("at cutoff")
    last = last[cut.groupby([last["architecture"], last["seed"], last["arm"]]).transform("any")]
    names = {FRAGILITY: "L2_mask", SUCCESS: "success"}
    pattern = rf"^(?P<what>{FRAGILITY}|{SUCCESS})(?: at cutoff (?P<cutoff>.+))?$"
    rows = last.join(last["measure"].str.extract(pattern)).dropna(subset=["what"])
    rows = rows.assign(what=rows["what"].map(names), cutoff=rows["cutoff"].fillna("inf"))
    by = ["architecture", "arm", "what", "cutoff"]
    means = rows.groupby(by, sort=False)["value"].mean()
    return means.unstack(["what", "cutoff"]).sort_index(axis=1)


def growth_of_ways_back(zoo: Zoo, faces: FaceBatch) -> pd.DataFrame:
    """How much a damage adds to the error of the way back, for forgeries and for photos.

    Returns
    -------
    DataFrame with columns panel (the generator), damage, level, of, error (mean over faces) and
    added: error minus that of the undamaged.
    """
    parts = []
    for name, model in zoo.items():
        by = ["damage", "level", "of"]
        means = way_back(model, faces).groupby(by, sort=False)["error"].mean().reset_index()
        parts.append(means.assign(panel=name))
    return _added(pd.concat(parts, ignore_index=True))


def _added(rows: pd.DataFrame) -> pd.DataFrame:
    """With a column `added`: the error minus that of the undamaged, of the same panel and kind."""
    clean = rows[rows["damage"] == "none"].set_index(["panel", "of"])["error"]
    index = pd.MultiIndex.from_frame(rows[["panel", "of"]])
    return rows.assign(added=rows["error"].to_numpy() - clean.loc[index].to_numpy())


def spectra(runs: dict[str, Run]) -> pd.DataFrame:
    """Share of each perturbation's power per octave of frequency: model, low, high, share.

    The row "random" is a pattern of random signs: what a perturbation without preference has.
    """
    shape = next(iter(runs.values())).delta.shape
    generator = np.random.default_rng(0)
    noise = runs[next(iter(runs))].delta.new_tensor(generator.choice([-1.0, 1.0], size=shape))
    rows = []
    for name, delta in {**{n: r.delta for n, r in runs.items()}, "random": noise}.items():
        power = band_power(delta)
        for k, share in enumerate((power / power.sum()).tolist()):
            rows.append({"model": name, "low": OCTAVES[k], "high": OCTAVES[k + 1], "share": share})
    return pd.DataFrame(rows)


def smoothing_forger(lab: Lab, cutoffs: tuple[float, ...], runs: dict[str, Run]) -> pd.DataFrame:
    """A forger who low-pass filters photos first, against two defenders.

    "unaware" publishes the plain reference of `runs`; "aware" optimises through the same filter.

    Returns
    -------
    DataFrame with columns model, cutoff (infinity: no filter), defender, l2_mask, success (of the
    edits, whatever the defender does).
    """
    rows = []
    for name, model in lab.zoo.items():
        for cutoff in (float("inf"), *cutoffs):
            smooth = {name: Filtered(model, cutoff).eval()}
            setting = {"model": name, "cutoff": cutoff}
            setting["success"] = edit_success(smooth[name], lab.test)
            tries = {"unaware": runs[name]}
            if np.isfinite(cutoff):
                tries |= {"aware": single_model(smooth, lab.train, lab.config)[name]}
            for defender, run in tries.items():
                table = evaluate(smooth, lab.test, run.delta)
                value = nonempty_mean(table, "model").get(name, float("nan"))
                rows.append({**setting, "defender": defender, "l2_mask": value})
    return pd.DataFrame(rows)


@torch.no_grad()
def edit_success(model: DeepfakeModel, faces: FaceBatch) -> float:
    """Share of edits the independent classifier sees, mean over edits; as `zoo_bars` counts it.

    Over faces that were not as asked before; an edit no face lacks is left out.
    """
    shares = []
    for edit in model.edits:
        column = attribute_index(edit)
        target = model.target_attributes(faces.attributes, edit)[:, column]
        changes = target != faces.attributes[:, column]
        if changes.any():
            forged = model(faces.images[changes], model.conditions(faces.attributes[changes], edit))
            found = predict_attributes(forged)[:, column]
            shares.append((found == target[changes]).float().mean().item())
    return float(np.mean(shares))
