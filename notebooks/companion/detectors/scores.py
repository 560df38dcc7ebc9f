"""From scores to numbers: AUC, EER, AP and accuracy, with the project's one interval standard.

Scores come as a table: a row a face with the columns set, kind, label and person, then a column of
probabilities for each "arm|seed".
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from aef_core.errors import BadInput
from aef_core.metrics.statistics import DRAWS, ZERO_TO_ONE, interval
from companion.detectors.faces import FAKE, REAL, FaceSet

FACE = ["set", "kind", "label", "person"]  # columns that say what was scored
GENERATORS = ("StarGAN", "AttentionGAN", "AttGAN", "HiSD")
TESTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "original": (("real", "LFW"), GENERATORS),
    "synthesised": (("SBI real",), ("SBI",)),
    "VAE": (("real", "LFW"), ("VAE",)),
    "cross blend": (("SBI real",), ("cross blend",)),
}
"""What each test sets against each other: kinds of reals, kinds of fakes."""
EACH = {name: (("real", "LFW"), (name,)) for name in GENERATORS}
METRICS = ("acc", "auc", "eer", "ap")
IN_DOMAIN, CROSS = ("original", "synthesised"), ("VAE", "cross blend")


def metrics(
    scores: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    names: Iterable[str] = METRICS,
) -> dict:
    """DeepfakeBench's four numbers of one set, or some of them, for each row of weights.

    Parameters
    ----------
    scores : array, shape [N]
        Probability of fake.
    labels : array, shape [N], 0 real, 1 fake
    weights : array, shape [D, N], optional
        How often a resampled set holds each face; once each by default.
    names : iterable of str
        Of `METRICS`.

    Returns
    -------
    dict of array, shape [D] (or number): acc at 0.5; auc; eer, the false positive rate where it is
    nearest to the false negative rate; ap, the mean precision over steps of recall. NaN where a
    resampled set lacks a class.

    Raises
    ------
    ValueError
        Lengths differ, or a class is missing.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if scores.shape != labels.shape or set(np.unique(labels)) != {REAL, FAKE}:
        raise BadInput("metrics need one score a face, and faces of both labels 0 and 1")
    single = weights is None
    w = np.ones((1, len(scores))) if single else np.asarray(weights, float)
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])  # ties share a threshold
    hits = np.cumsum(w[:, order] * labels[order], 1)[:, last]
    alarms = np.cumsum(w[:, order] * (1 - labels[order]), 1)[:, last]
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = hits / hits[:, -1:], alarms / alarms[:, -1:]
        precision = np.nan_to_num(hits / (hits + alarms)) if "ap" in names else None
    tpr, fpr = (np.pad(r, ((0, 0), (1, 0))) for r in (tpr, fpr))
    right = (scores >= 0.5) == (labels == FAKE)
    how = {
        "acc": lambda: (w * right).sum(1) / w.sum(1),
        "auc": lambda: (np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(1),
        "eer": lambda: fpr[np.arange(len(fpr)), np.abs(1 - tpr - fpr).argmin(1)],
        "ap": lambda: (np.diff(tpr) * precision).sum(1),
    }
    found = {name: how[name]() for name in names}
    return {k: float(v[0]) for k, v in found.items()} if single else found


def face_rows(name: str, faces: FaceSet) -> pd.DataFrame:
    """The first columns of a score table; people are numbered, not named."""
    people = pd.factorize(np.array(faces.people))[0]
    columns = {"set": name, "kind": faces.kinds, "label": faces.labels.numpy(), "person": people}
    return pd.DataFrame(columns)


def arms_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of each arm in a score table, one a seed."""
    found: dict[str, list[str]] = {}
    for column in table.columns.difference(FACE, sort=False):
        found.setdefault(column.rpartition("|")[0], []).append(column)
    return found


def metric_draws(
    table: pd.DataFrame,
    tests: Iterable[str] = TESTS,
    metric: str = "auc",
    within: str = "test",
    n: int = DRAWS,
) -> pd.DataFrame:
    """A metric of every arm and test as measured (draw 0) and for resampled people.

    Differences of columns are paired on people and seeds; `statistics.interval` says how sure.

    Returns
    -------
    DataFrame, rows (draw, seed), columns (arm, test).
    """
    return _draws(table, tests, (metric,), within, n)[metric]


def _draws(
    table: pd.DataFrame, tests: Iterable[str], names: tuple[str, ...], within: str, n: int
) -> dict[str, pd.DataFrame]:
    """`metric_draws` of several metrics."""
    own = table[table["set"] == within]
    if own.empty:
        raise BadInput(
            f"the scores hold no set {within!r}, only {', '.join(table['set'].unique())}"
        )
    people = own["person"].to_numpy()
    count = people.max() + 1
    drawn = np.random.default_rng(0).multinomial(count, [1 / count] * count, size=n)
    weights = np.vstack([np.ones(count), drawn])
    found: dict[str, dict] = {name: {} for name in names}
    for test in tests:
        reals, fakes = (TESTS | EACH)[test]
        rows = own["kind"].isin((*reals, *fakes)).to_numpy()
        w = weights[:, people[rows]]
        for arm, columns in arms_of(own).items():
            for column in columns:
                values = metrics(own.loc[rows, column], own.loc[rows, "label"], w, names)
                for name in names:
                    found[name][arm, test, int(column.rpartition("|")[2])] = values[name]
    return {name: _by_seed(values) for name, values in found.items()}


def _by_seed(values: dict[tuple[str, str, int], np.ndarray]) -> pd.DataFrame:
    wide = pd.DataFrame(values).rename_axis("draw")
    wide.columns.names = ["arm", "test", "seed"]
    return wide.stack("seed", future_stack=True)


def means(draws: pd.DataFrame, tests: Iterable[str]) -> pd.DataFrame:
    """Mean over tests of `metric_draws`: rows (draw, seed), a column an arm."""
    part = draws.loc[:, draws.columns.get_level_values("test").isin(list(tests))]
    return part.T.groupby(level="arm", sort=False).mean().T


def result_rows(table: pd.DataFrame, within: str = "test", n: int = DRAWS) -> pd.DataFrame:
    """DeepfakeBench-style rows: arm, test, acc, auc, eer, ap with the ends of AUC's and EER's."""
    parts = {}
    for metric, draws in _draws(table, TESTS, METRICS, within, n).items():
        ends = interval(draws, ZERO_TO_ONE)
        parts[metric] = ends["value"]
        if metric in ("auc", "eer"):
            parts |= {f"{metric} low": ends["low"], f"{metric} high": ends["high"]}
    return pd.DataFrame(parts)


def read_scores(path: object) -> pd.DataFrame:
    """A score table that `DataFrame.to_csv(index=False)` wrote."""
    return pd.read_csv(path)


def picked(table: pd.DataFrame, arms: Iterable[str]) -> str:
    """The arm with the best mean in-domain AUC on the validation set: never chosen on the test."""
    value = means(metric_draws(table, IN_DOMAIN, within="val", n=0), IN_DOMAIN).mean()
    held = [arm for arm in arms if arm in value.index]
    if not held:
        raise BadInput(f"the scores hold none of the arms {', '.join(arms)}")
    return str(value[held].idxmax())


def overview(rows: Mapping | pd.DataFrame) -> pd.DataFrame:
    """AUC per arm (rows) and test (columns), as "0.912 [0.88, 0.94]"."""
    words = [
        f"{r['auc']:.3f} [{r['auc low']:.2f}, {r['auc high']:.2f}]" for _, r in rows.iterrows()
    ]
    wide = pd.Series(words, rows.index).unstack("test")
    return wide.loc[rows.index.unique("arm"), rows.index.unique("test")]
