"""Judgements on the two detector papers, from the tables that their long runs keep.

As in `verdicts`, each function's docstring is its criterion. What a number means is said where it
is computed: `companion.detectors.falsifiers` (CS-DFD) and `companion.detectors.corit.falsifiers`.
Differences of AUC must be off zero and at least 0.025, half of `SMALLEST_EFFECT`.
"""

from functools import cache
from pathlib import Path

import pandas as pd

from aef_core.errors import NotFound
from companion.claims.evidence import Evidence, NotMeasured
from companion.claims.words import CANNOT, HOLDS, NOT, PART, Verdict, grade
from companion.detectors import falsifiers, study
from companion.detectors.corit import falsifiers as corit
from companion.detectors.corit.bench import SEMANTIC, TRACE
from companion.detectors.corit.study import kept_tables
from companion.detectors.leave_one_out import kept_left_out
from companion.studies.differences import NO_EFFECT

KEPT = study.KEPT
HOW = "python -m companion.detectors"
SAID = {"supported": HOLDS, "falsified": NOT, "open": NO_EFFECT}


@cache
def _csdfd(folder: Path) -> tuple[study.Study, pd.DataFrame]:
    try:
        return study.kept_study(folder)[0], kept_left_out(folder)
    except NotFound:
        raise NotMeasured(HOW) from None


@cache
def _corit(folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, corit.Finding]]:
    try:
        tables, _ = kept_tables(folder)
    except NotFound:
        raise NotMeasured(HOW) from None
    return tables, corit.all_findings(tables)


def _ends(row: pd.Series) -> str:
    return f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def _seeds(scores: pd.DataFrame) -> int:
    return len({column.rpartition("|")[2] for column in scores if "|" in column})


def joint_training_hurts(e: Evidence) -> Verdict:
    """Trained on both kinds, the mean AUC over four tests is lower than that of the better kind
    alone (in part: on one kind's own test it is lower than that kind's alone)."""
    scores = _csdfd(KEPT)[0].scores
    whole, home = falsifiers.joint_is_worse(scores), falsifiers.joint_loses_at_home(scores)
    numbers = "; ".join(f"on {kind} {_ends(row)}" for kind, row in home.items())
    lost = [row["verdict"] == "supported" for row in home.values()]
    word = PART if any(lost) and whole["verdict"] != "supported" else SAID[whole["verdict"]]
    return Verdict(word, f"better one alone minus joint {_ends(whole)}; {numbers}")


def kinds_conflict(e: Evidence) -> Verdict:
    """The gradients of both kinds have a negative cosine in more steps than those of two batches of
    one kind, by 0.05 of the steps."""
    row = falsifiers.conflict_above_null(_csdfd(KEPT)[0].probes)
    return Verdict(SAID[row["verdict"]], f"share of steps over the null {_ends(row)}")


def uvs_helps(e: Evidence) -> Verdict:
    """UVS has a higher mean AUC than the best static weight; both are picked on validation
    people."""
    row = falsifiers.uvs_beats_static(_csdfd(KEPT)[0].scores)
    return Verdict(SAID[row["verdict"]], f"AUC {_ends(row)}")


def less_conflict_generalises(e: Evidence) -> Verdict:
    """Conflict descent raises the mean cosine by 0.05 and the AUC on manipulations never trained on
    (in part: only one, or the control, seeking conflict, lowers the AUC)."""
    kept = _csdfd(KEPT)[0]
    cosine = falsifiers.descent_aligns(kept.gradients)
    auc = falsifiers.descent_generalises(kept.scores)
    control = falsifiers.conflict_hurts(kept.scores)
    words = [row["verdict"] for row in (cosine, auc, control)]
    numbers = f"cosine {_ends(cosine)}, unseen AUC {_ends(auc)}, control loses {_ends(control)}"
    if "supported" not in words:
        return Verdict(SAID[auc["verdict"]], numbers)
    return Verdict(grade(words[:2] == ["supported"] * 2, True), numbers)


def unseen_generators(e: Evidence) -> Verdict:
    """Trained without a generator, UVS with conflict descent tells it from reals better than joint
    training; mean AUC over four generators left out in turn (in part: UVS or descent alone)."""
    left_out = _csdfd(KEPT)[1]
    arms = (study.SHIPPED, "UVS 0.2", "conflict descent")
    rows = {arm: falsifiers.unseen_generators(left_out, arm) for arm in arms}
    numbers = "; ".join(f"{arm} {_ends(row)}" for arm, row in rows.items())
    words = [row["verdict"] for row in rows.values()]
    word = PART if "supported" in words[1:] and words[0] != "supported" else SAID[words[0]]
    return Verdict(word, f"AUC over joint: {numbers}; {_seeds(left_out)} seed(s)")


def little_time(e: Evidence) -> Verdict:
    """A step of UVS with conflict descent takes at most 1.05 times one of joint training (in part:
    one of UVS alone does)."""
    ratio = _csdfd(KEPT)[0].seconds
    ratio = ratio / ratio["joint"]
    both, alone = ratio[study.SHIPPED], ratio["UVS 0.5"]
    numbers = f"{both:.2f} times; UVS alone {alone:.2f}"
    return Verdict(grade(both <= 1.05, alone <= 1.05), numbers)


def sam_collapses(e: Evidence) -> Verdict:
    """With the semantic prior, the task without semantics collapses at a smaller radius than the
    semantic one, in two seeds or more (in part: in one, or at some radius up to 2 it collapses in
    most seeds, on any encoder)."""
    tables, found = _corit(KEPT)
    trace = tables["runs"][tables["runs"]["task"] == TRACE]
    share = trace.groupby(["encoder", "rho"])["collapsed"].mean()
    numbers = (
        f"radii {found['tasks'].numbers}; {trace['collapsed'].sum()} of {len(trace)} trainings on "
        f"the trace collapse; {_corit_seeds()}"
    )
    full = found["tasks"].falsified is False and trace["seed"].nunique() > 1
    return Verdict(grade(full, share.max() > 0.5), numbers)


def prior_collapses(e: Evidence) -> Verdict:
    """On the task without semantics, the encoder with a semantic prior collapses at a smaller
    radius than the random start."""
    return _of_finding(_corit(KEPT)[1]["prior"])


def radius_rises_with_gsnr(e: Evidence) -> Verdict:
    """Spearman's correlation of radius and GSNR over at least eight cells is above zero, interval
    over seeds, and label noise, which lowers GSNR, lowers the radius (in part: one of both)."""
    tables, found = _corit(KEPT)
    ends, _ = corit.rank_over_seeds(tables["cells"], "point")
    rises, noise = found["rises"], found["noise"]
    numbers = f"{rises.numbers}; under label noise {noise.numbers}; {_corit_seeds()}"
    kept = [rises.falsified is False and ends["low"] > 0, noise.falsified is False]
    if any(kept):
        return Verdict(grade(all(kept), True), numbers)
    return Verdict(NOT if rises.falsified or noise.falsified else NO_EFFECT, numbers)


def gsnr_fades(e: Evidence) -> Verdict:
    """Spearman's correlation of block and GSNR is below zero, interval over seeds; semantic prior,
    task without semantics."""
    tables, found = _corit(KEPT)
    finding = found["depth"]
    if finding.falsified is not False:
        return _of_finding(finding)
    ends = corit.depth_ranks(corit.cell_of(tables["blocks"], TRACE, SEMANTIC))
    return Verdict(HOLDS if ends["high"] < 0 else NO_EFFECT, finding.numbers)


def gsnr_causes_collapse(e: Evidence) -> Verdict:
    """Where SAM collapses, neither a tenth of the steps by SGD first nor a perturbation of the norm
    layers alone undoes it at unchanged GSNR."""
    tables, found = _corit(KEPT)
    both = [found["warm start"], found["norm-only"]]
    cell = tables["rivals"].iloc[0]
    where = f"{cell['task']}, {cell['encoder']}, radius {cell['rho']:g}"
    numbers = (
        f"{where}: warm start {both[0].numbers}; norm-only {both[1].numbers}; {_corit_seeds()}"
    )
    if any(f.falsified for f in both):
        return Verdict(NOT, numbers)
    return Verdict(CANNOT if any(f.falsified is None for f in both) else HOLDS, numbers)


def parts_help(e: Evidence) -> Verdict:
    """All four parts together add at least 0.05 of AUC to a linear probe, and as much more than
    with a random mask or the hierarchy alone."""
    return _of_finding(_corit(KEPT)[1]["parts"])


def _of_finding(finding: corit.Finding) -> Verdict:
    word = {True: NOT, False: HOLDS, None: CANNOT}[finding.falsified]
    return Verdict(word, f"{finding.numbers}; {_corit_seeds()}")


def _corit_seeds() -> str:
    return f"{_corit(KEPT)[0]['runs']['seed'].nunique()} seed(s)"
