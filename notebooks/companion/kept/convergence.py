"""Which run has settled? Worst and mean interruption against steps, from kept histories.

Only where a row says how far one pattern moves every generator's output. Left out are steps that
showed the generators photos resized at random (input diversity of FOUND and TSDF, half of their
steps: the resize alone moves outputs a hundred times as far as the pattern moves the worst
generator's), TSDF's steps against the face detector, and CMUA, whose rows measure another pattern
for each generator.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from aef_core.perturbation.objective import seeded
from companion.kept.store import Kept
from companion.studies.differences import RANDOM, REFERENCE

SETTLED = 0.01  # relative change that counts as none
PART = 5  # the last fifth is compared with the fifth before: about a hundred of 480 steps
IN_TURN = "cmua"  # one generator after the other: never one pattern's output MSE of all


def curves(runs: Kept) -> pd.DataFrame:
    """Interruption of the optimising batch against steps, for each run that has more than one.

    Returns
    -------
    DataFrame with columns label, seed, step, worst and mean: the least and the mean over generators
    of the output MSE, each smoothed over a tenth of the steps that count; a run without any is
    left out.
    """
    parts = []
    for (label, seed), run in runs.items():
        one_or_none = label == RANDOM or label.startswith(REFERENCE)
        if one_or_none or run.config["method"] == IN_TURN:
            continue
        wide = levels(run.history, run.config)
        if wide.empty:
            continue
        smooth = wide.rolling(max(1, len(wide) // 10), min_periods=1).mean()
        both = pd.DataFrame({"worst": smooth.min(axis=1), "mean": smooth.mean(axis=1)})
        parts.append(both.reset_index().assign(label=label, seed=seed))
    table = pd.concat(parts, ignore_index=True)
    return table[["label", "seed", "step", "worst", "mean"]]


def levels(history: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Output MSE, a column for each generator, of the steps that count.

    `history` and `config` as of `Run`; indexed by step, empty if no step counts.
    """
    wide = history.pivot(index="step", columns="model", values="output_mse")
    wide = wide[[name for name in wide if name in config["zoo"]]].dropna(how="all")
    return wide[[not resized(config["loop"], step) for step in wide.index]]


def resized(loop: Mapping[str, Any], step: int) -> bool:
    """Whether the loop showed generators resized photos in this step: its draw, repeated."""
    draw = torch.rand((), generator=seeded(loop["seed"], f"diversity {step}"))
    return draw.item() < loop["diversity"]


def settled(lines: pd.DataFrame) -> pd.DataFrame:
    """Change of `curves` from the last fifth but one to the last, in parts of the former.

    Returns
    -------
    DataFrame indexed by label: worst and mean (of the seed that moved most) and `settled`, whether
    both changed by less than `SETTLED`.
    """
    rows = {}
    for key, line in lines.groupby(["label", "seed"], sort=False):
        end = line["step"].max() + 1
        late = line[line["step"] >= end - max(1, end // PART)]
        before = line[line["step"] < late["step"].min()].tail(len(late))
        former = before[["worst", "mean"]].mean()
        rows[key] = (late[["worst", "mean"]].mean() / former - 1).abs()
    change = pd.DataFrame(rows).T.groupby(level=0, sort=False).max()
    return change.assign(settled=(change < SETTLED).all(axis=1))
