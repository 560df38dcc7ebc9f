"""One function for each way in which the collapse story could be wrong; each reads tables only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from aef_core.errors import BadInput
from companion.detectors.corit.bench import EDIT, RANDOM, SEMANTIC, TRACE
from companion.detectors.corit.radius import radius_table
from companion.studies.differences import over_seeds

LEAST_CELLS = 8
SAME_GSNR = 0.25  # relative change of GSNR that still counts as unchanged, ours
EQUAL = 0.05  # of AUC, less is no gain


@dataclass(frozen=True)
class Finding:
    """What a falsifier says.

    Attributes
    ----------
    claim : str
        What would be false.
    falsified : bool or None
        None where the runs cannot tell.
    numbers : str
    """

    claim: str
    falsified: bool | None
    numbers: str


def _need(table: pd.DataFrame, *columns: str) -> None:
    missing = [c for c in columns if c not in table]
    if missing or table.empty:
        raise BadInput(f"a table with {', '.join(columns)} is needed; missing: {missing or 'rows'}")


def _span(row: pd.Series) -> str:
    return f"[{row['low']:g}, {row['high']:g}]"


def _apart(one: pd.Series, two: pd.Series) -> bool | None:
    """Whether two critical radii differ: their intervals share no inside. None where one is NaN."""
    if np.isnan([one["low"], two["low"]]).any():
        return None
    return bool(one["high"] <= two["low"] or two["high"] <= one["low"])


def tasks_collapse_alike(radii: pd.DataFrame, semantic: str, other: str) -> Finding:
    """Falsified if the radius of the non-semantic task is not below the semantic one's.

    `radii` has columns task, low, high: those of one encoder.
    """
    _need(radii, "task", "low", "high")
    a, b = (radii.set_index("task").loc[t] for t in (semantic, other))
    apart = _apart(a, b)
    lower = None if apart is None else apart and b["high"] <= a["low"]
    told = None if lower is None else not lower
    return Finding(
        "non-semantic tasks collapse at a smaller radius", told, f"{_span(a)} and {_span(b)}"
    )


def random_start_collapses_alike(radii: pd.DataFrame, prior: str, control: str) -> Finding:
    """Falsified if an encoder without a semantic prior collapses at the same radius or a smaller.

    `radii` has columns encoder, low, high: those of one task.
    """
    _need(radii, "encoder", "low", "high")
    a, b = (radii.set_index("encoder").loc[e] for e in (prior, control))
    apart = _apart(a, b)
    told = None if apart is None else not (apart and a["high"] <= b["low"])
    return Finding("the semantic prior causes the collapse", told, f"{_span(a)} and {_span(b)}")


def radius_does_not_rise(cells: pd.DataFrame) -> Finding:
    """Falsified if Spearman(radius, GSNR) <= 0 over at least 8 cells; fewer cells cannot tell.

    `cells` has columns point (a radius, inf where none collapsed), gsnr and seed, of which each has
    a correlation of its own; NaN radii do not count.
    """
    claim = "the radius rises with GSNR"
    ends, count = rank_over_seeds(cells, "point")
    if np.isnan(ends["value"]):
        return Finding(claim, None, f"{count} cells a seed whose radii or GSNR do not differ")
    told = bool(ends["value"] <= 0) if count >= LEAST_CELLS else None
    return Finding(claim, told, f"Spearman {_ends(ends)} over {count} cells")


def rank_over_seeds(table: pd.DataFrame, column: str) -> tuple[pd.Series, int]:
    """Spearman(column, gsnr): value, low, high over seeds; and the fewest cells a seed has."""
    _need(table, column, "gsnr", "seed")
    known = table.dropna(subset=[column, "gsnr"])
    parts = [part for _, part in known.groupby("seed")]
    differ = [p for p in parts if p[column].nunique() > 1 and p["gsnr"].nunique() > 1]
    found = [spearmanr(p[column], p["gsnr"]).statistic for p in differ]
    ends = over_seeds(found or [np.nan], within=(-1, 1))
    return ends, min((len(p) for p in differ or parts), default=0)


def _ends(row: pd.Series) -> str:
    span = "" if np.isnan(row["low"]) else f" [{row['low']:+.2f}, {row['high']:+.2f}]"
    return f"{row['value']:+.2f}{span}"


def noise_leaves_the_radius(cells: pd.DataFrame, clean: str, noisy: str) -> Finding:
    """Falsified if label noise lowers GSNR (by more than a quarter) and not the radius.

    `cells` has columns task, low, high, gsnr, a row a seed: radii of all seeds together.
    """
    _need(cells, "task", "low", "high", "gsnr")
    both = cells.groupby("task").agg({"low": "min", "high": "max", "gsnr": "mean"})
    a, b = both.loc[clean], both.loc[noisy]
    numbers = f"GSNR {a['gsnr']:.3g} to {b['gsnr']:.3g}, radius {_span(a)} to {_span(b)}"
    lowered = b["gsnr"] < (1 - SAME_GSNR) * a["gsnr"]
    apart = _apart(a, b)
    told = None if apart is None or not lowered else not (apart and b["high"] <= a["low"])
    return Finding("lower GSNR lowers the radius", told, numbers)


def gsnr_keeps_with_depth(blocks: pd.DataFrame) -> Finding:
    """Falsified if GSNR does not fall with depth: `depth_ranks` >= 0 in the mean over seeds."""
    claim, ends = "GSNR falls with depth", depth_ranks(blocks)
    if np.isnan(ends["value"]):
        return Finding(claim, None, "GSNR is the same in all blocks")
    mean = blocks.groupby("block", sort=False)["gsnr"].mean()
    numbers = f"Spearman {_ends(ends)}; first {mean.iloc[0]:.3g}, last {mean.iloc[-1]:.3g}"
    return Finding(claim, bool(ends["value"] >= 0), numbers)


def depth_ranks(blocks: pd.DataFrame) -> pd.Series:
    """Spearman(depth, GSNR), value, low, high over seeds.

    `blocks` has columns block ("block 1", ...), gsnr and seed, of one cell.
    """
    if blocks["block"].nunique() < 3:
        raise BadInput(f"a trend needs at least 3 blocks, got {blocks['block'].nunique()}")
    depth = blocks["block"].str.split().str[-1].astype(int)
    return rank_over_seeds(blocks.assign(depth=depth), "depth")[0]


def cell_of(table: pd.DataFrame, task: str, encoder: str) -> pd.DataFrame:
    """The rows of one task and encoder."""
    return table[(table["task"] == task) & (table["encoder"] == encoder)]


def rival_removes_the_collapse(rivals: pd.DataFrame, rival: str) -> Finding:
    """Falsified if a rival cure undoes the collapse though GSNR is the same (within a quarter).

    `rivals` has columns arm ("SAM" and the rival's), collapsed, auc, gsnr: one radius, at which
    SAM collapses.
    """
    _need(rivals, "arm", "collapsed", "auc", "gsnr")
    rows = rivals.groupby("arm", sort=False)[["collapsed", "auc", "gsnr"]].mean()
    sam, cure = rows.loc["SAM"], rows.loc[rival]
    claim = f"low GSNR causes the collapse, not what {rival} mends"
    numbers = (
        f"collapsed {sam['collapsed']:.0%} and {cure['collapsed']:.0%}, AUC {sam['auc']:.2f} and "
        f"{cure['auc']:.2f}, GSNR {sam['gsnr']:.3g} and {cure['gsnr']:.3g}"
    )
    cured = cure["collapsed"] < 0.5
    if sam["collapsed"] < 0.5 or (cured and sam["gsnr"] == 0):
        return Finding(claim, None, numbers)  # nothing to cure, or a GSNR below its floor
    same = abs(cure["gsnr"] - sam["gsnr"]) <= SAME_GSNR * sam["gsnr"]
    return Finding(claim, bool(cured and same), numbers)


def random_parts_gain_alike(parts: pd.DataFrame, full: str, controls: list[str]) -> Finding:
    """Falsified if the part's control gains as much AUC, or the part gains nothing.

    `parts` has columns arm (with "none", the encoder as it is) and auc.
    """
    _need(parts, "arm", "auc")
    scores = (
        parts.groupby("arm", sort=False)["auc"].mean()
        - parts.loc[parts["arm"] == "none", "auc"].mean()
    )
    rest = max(scores[c] for c in controls)
    told = bool(scores[full] < EQUAL or scores[full] - rest < EQUAL)
    numbers = f"{full} {scores[full]:+.3f}, best control {rest:+.3f} (AUC over none)"
    return Finding("where and what is injected matters", told, numbers)


def all_findings(tables: Mapping[str, pd.DataFrame]) -> dict[str, Finding]:
    """Every falsifier on the tables of `study.tables_of`, by a short name.

    The encoder is the semantic one unless the falsifier compares encoders; the task is the
    upsampling trace, the non-semantic one, unless it compares tasks.
    """
    cells, blocks, rivals = tables["cells"], tables["blocks"], tables["rivals"]
    radii = radius_table(tables["runs"], ["task", "encoder"])
    semantic, trace = radii[radii["encoder"] == SEMANTIC], radii[radii["task"] == TRACE]
    own = cell_of(blocks, TRACE, SEMANTIC)
    noisy = next(t for t in cells["task"] if t.startswith(TRACE) and t != TRACE)
    return {
        "tasks": tasks_collapse_alike(semantic, EDIT, TRACE),
        "prior": random_start_collapses_alike(trace, SEMANTIC, RANDOM),
        "rises": radius_does_not_rise(cells),
        "noise": noise_leaves_the_radius(cells[cells["encoder"] == SEMANTIC], TRACE, noisy),
        "depth": gsnr_keeps_with_depth(own),
        "warm start": rival_removes_the_collapse(rivals, "SGD warm start"),
        "norm-only": rival_removes_the_collapse(rivals, "norm-only"),
        "parts": random_parts_gain_alike(tables["parts"], "all", ["all, random mask", "hierarchy"]),
    }


def findings_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row a finding: claim, `falsified here` (yes, no, cannot tell), numbers."""
    words = {True: "yes", False: "no", None: "cannot tell"}
    rows = [{"claim": f.claim, "falsified here": words[f.falsified], "numbers": f.numbers}
            for f in findings]  # fmt: skip
    return pd.DataFrame(rows).set_index("claim")
