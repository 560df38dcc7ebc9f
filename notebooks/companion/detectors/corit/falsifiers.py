"""One function for each way in which the collapse story could be wrong; each reads tables only."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from aef_core.errors import BadInput

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
    """Falsified if an encoder without a semantic prior collapses at the same radius.

    `radii` has columns encoder, low, high: those of one task.
    """
    _need(radii, "encoder", "low", "high")
    a, b = (radii.set_index("encoder").loc[e] for e in (prior, control))
    apart = _apart(a, b)
    told = None if apart is None else not apart
    return Finding("the semantic prior causes the collapse", told, f"{_span(a)} and {_span(b)}")


def radius_does_not_rise(cells: pd.DataFrame) -> Finding:
    """Falsified if Spearman(radius, GSNR) <= 0 over at least 8 cells; fewer cells cannot tell.

    `cells` has columns point (a radius, inf where none collapsed) and gsnr; NaN radii do not count.
    """
    _need(cells, "point", "gsnr")
    known = cells.dropna(subset=["point", "gsnr"])
    if len(known) < 3 or known["point"].nunique() < 2 or known["gsnr"].nunique() < 2:
        return Finding("the radius rises with GSNR", None, f"{len(known)} cells that differ")
    found = spearmanr(known["point"], known["gsnr"])
    told = bool(found.statistic <= 0) if len(known) >= LEAST_CELLS else None
    numbers = f"Spearman {found.statistic:+.2f} (p {found.pvalue:.2f}) over {len(known)} cells"
    return Finding("the radius rises with GSNR", told, numbers)


def noise_leaves_the_radius(cells: pd.DataFrame, clean: str, noisy: str) -> Finding:
    """Falsified if label noise lowers GSNR (by more than a quarter) and the radius stays.

    `cells` has columns task, low, high, gsnr.
    """
    _need(cells, "task", "low", "high", "gsnr")
    a, b = (cells.set_index("task").loc[t] for t in (clean, noisy))
    numbers = f"GSNR {a['gsnr']:.3g} to {b['gsnr']:.3g}, radius {_span(a)} to {_span(b)}"
    lowered = b["gsnr"] < (1 - SAME_GSNR) * a["gsnr"]
    apart = _apart(a, b)
    told = None if apart is None or not lowered else not apart
    return Finding("lower GSNR lowers the radius", told, numbers)


def gsnr_keeps_with_depth(blocks: pd.Series) -> Finding:
    """Falsified if GSNR does not fall with depth: Spearman(block, GSNR) >= 0.

    `blocks` is the GSNR of "block 1", "block 2", ..., in order.
    """
    if len(blocks) < 3:
        raise BadInput(f"a trend needs at least 3 blocks, got {len(blocks)}")
    if blocks.nunique() < 2:
        return Finding("GSNR falls with depth", None, "GSNR is the same in all blocks")
    rho = spearmanr(range(len(blocks)), blocks.to_numpy(float)).statistic
    numbers = f"Spearman {rho:+.2f}; first {blocks.iloc[0]:.3g}, last {blocks.iloc[-1]:.3g}"
    return Finding("GSNR falls with depth", bool(rho >= 0), numbers)


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
    if sam["collapsed"] < 0.5:
        return Finding(claim, None, numbers)
    same = abs(cure["gsnr"] - sam["gsnr"]) <= SAME_GSNR * sam["gsnr"]
    return Finding(claim, bool(cure["collapsed"] < 0.5 and same), numbers)


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


def findings_table(findings: list[Finding]) -> pd.DataFrame:
    """One row a finding: claim, `falsified here` (yes, no, cannot tell), numbers."""
    words = {True: "yes", False: "no", None: "cannot tell"}
    rows = [{"claim": f.claim, "falsified here": words[f.falsified], "numbers": f.numbers}
            for f in findings]  # fmt: skip
    return pd.DataFrame(rows).set_index("claim")
