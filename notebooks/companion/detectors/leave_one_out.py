"""Cross-manipulation: detectors trained without one generator, judged on that generator."""

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from aef_core.atomic import write_text
from aef_core.errors import must_be_file
from aef_core.metrics.statistics import DRAWS
from companion.detectors.backbone import Detector
from companion.detectors.csdfd import prepare, train
from companion.detectors.faces import FaceSet
from companion.detectors.scores import GENERATORS, face_rows, metric_draws
from companion.detectors.study import KEPT, MADE_BY

TABLE = "csdfd_left_out.csv"
LEFT = "left out"  # column: the generator a row's detectors were trained without
ARMS = (
    "original only", "synthesised only", "joint", "UVS 0.2", "conflict descent", "UVS 0.5 + descent"
)  # fmt: skip
"""The arms the claims are about: UVS 0.2 and joint, a static weight, won on validation people."""


def leave_one_out(
    faces: FaceSet,
    judged: Mapping[str, FaceSet],
    path: Path,
    seeds: Iterable[int],
    steps: int,
    arms: Iterable[str] = ARMS,
    frozen: int = 9,
    rate: float = 1e-3,
) -> pd.DataFrame:
    """Train each arm without each generator in turn; score the reals and that generator's fakes.

    Settings are those of `study.compare`. The table is written after every training, and a second
    call trains what it lacks.

    Returns
    -------
    DataFrame: a score table (`scores`) with the column "left out" more.
    """
    front = Detector(frozen)
    tests = {
        name: {k: one.of("real", "LFW", name) for k, one in judged.items()} for name in GENERATORS
    }
    if path.exists():
        table = pd.read_csv(path)
    else:
        rows = [face_rows(k, one).assign(**{LEFT: name})
                for name, sets in tests.items() for k, one in sets.items()]  # fmt: skip
        table = pd.concat(rows, ignore_index=True)
    ready: dict[str, tuple] = {}
    for seed, name, arm in product(seeds, GENERATORS, arms):
        own, column = table[LEFT] == name, f"{arm}|{seed}"
        if column in table and table.loc[own, column].notna().all():
            continue
        if name not in ready:
            seen = torch.cat([front.fixed(one.tensor()) for one in tests[name].values()])
            ready[name] = prepare(front, faces, without=name), seen
        data, seen = ready[name]
        model = train(arm, data, frozen, steps, seed, rate).model
        table.loc[own, column] = model.probability(seen).double().numpy().round(3)
        write_text(path, table.to_csv(index=False, float_format="%.3g"))
    return table


def left_out_draws(table: pd.DataFrame, within: str = "test", n: int = DRAWS) -> pd.DataFrame:
    """AUC of telling each generator from reals without having met it.

    Returns
    -------
    DataFrame as of `metric_draws`: a test is named after the generator left out.
    """
    parts = table.groupby(LEFT, sort=False)
    draws = [
        metric_draws(part.drop(columns=LEFT), (name,), within=within, n=n) for name, part in parts
    ]
    return pd.concat(draws, axis=1)


def kept_left_out(folder: Path = KEPT) -> pd.DataFrame:
    """The long run's table as it ships; a seed counts once it has left out every generator.

    Raises
    ------
    FileNotFoundError
        It is not there.
    """
    path = folder / TABLE
    must_be_file(path, MADE_BY)
    return pd.read_csv(path).dropna(axis=1)
