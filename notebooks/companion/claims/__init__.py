"""The ledger of claims: what the paper and the seeds say, where it is tested, and what came out."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from aef_core.atomic import write_text
from aef_core.config import REPOSITORY, home
from companion.claims import detectors as d
from companion.claims import seeds as s
from companion.claims import verdicts as v
from companion.claims import words as w
from companion.claims.evidence import Evidence, NotMeasured

PAPER = "AEF, abstract"
FIGURES = "AEF, figures and text"
REVIEW = "review of AEF, written by an AI"
TSDF, CSDFD, CORIT = "TSDF", "CS-DFD", "CoRIT"
OURS = "this companion"


@dataclass(frozen=True)
class Claim:
    """One row of the ledger.

    Attributes
    ----------
    text, source : str
    tested : str
        Notebook and section, empty where nothing can be tested.
    judge : callable, optional
        From evidence to verdict; its docstring is the criterion.
    why : str
        Why it cannot be tested, where there is no judge.
    """

    text: str
    source: str
    tested: str = ""
    judge: Callable[[Evidence], w.Verdict] | None = None
    why: str = ""


CLAIMS: tuple[Claim, ...] = (
    Claim("Universal perturbations are biased to susceptible models and neglect resistant ones",
          PAPER, "01, section 2", v.imbalance),
    Claim("Static gradient normalisation does not resolve the imbalance",
          PAPER, "01, section 2", v.static_fails),
    Claim("The cause is conflict between the architectures' gradients",
          PAPER, "01, section 4", v.gradients_conflict),
    Claim("Loss feedback gives the most resistant model the greatest weight",
          PAPER, "02, section 3", v.favours_resistant),
    Claim("AEF is more balanced than averaging", PAPER, "02, section 2", v.beats_averaging),
    Claim("AEF is more balanced than static normalisation",
          PAPER, "02, section 2", v.beats_static),
    Claim("AEF reaches high and uniform effectiveness together",
          PAPER, "02, section 2; 12, section 1", v.high_and_uniform),
    Claim("AEF reaches an equilibrium", PAPER, "12, section 1", v.equilibrium_reached),
    Claim("AEF keeps a consistent success rate across architectures",
          PAPER, "06, section 3", v.uniform_success),
    Claim("AEF interrupts more evenly than CMUA, FOUND, DWT and TSDF",
          FIGURES, "06, section 4", v.beats_methods),
    Claim("The same on other faces (CelebA, LFW)", FIGURES, "06, section 5", v.other_faces),
    Claim("The same on FF++ frames", FIGURES, why="FF++ needs a signed form; "
          "`load_faces(\"ffpp\", root=...)` reads frames if you have them"),
    Claim("Dynamic weights add no cost", FIGURES, "04, section 4", v.free_weights),
    Claim("AEF is faster than FOUND and CMUA", FIGURES,
          why="every method here is given the same computation, so its seconds are set, not found; "
          "what a step costs under AEF's weights: the row above"),
    Claim("0.23 h of training against 0.67 h (FOUND) and over 5 h (CMUA)", FIGURES,
          why="hardware and schedules are not published"),
    Claim("The perturbation is imperceptible (SSIM of about 0.9)",
          FIGURES, "06, section 4", v.invisible),
    Claim("The published values (mean L2_mask, success rates, recognition)", FIGURES,
          why="no code, weights or per-model table is public; `load_zoo(\"official\")` is ready "
          "for the four public generators, none of which could be fetched here"),
    Claim("No tuning per model is needed", REVIEW, "02, section 4", v.no_tuning),
    Claim("Feedback weights do not make the optimisation unstable",
          REVIEW, "12, section 1", v.stable),
    Claim("The balance holds on held-out models", REVIEW, "10, section 3", s.balance_transfers),
    Claim("It transfers to model families it has not seen",
          REVIEW, "10, section 1", s.new_family),
    Claim("The weighting extends to ensembles of image classifiers",
          REVIEW, "11, section 3", s.other_targets),
    Claim("Constraints on visibility keep the balance", REVIEW, "08, section 6", s.stealth),
    Claim("Interruption alone degrades sharply when a forger retrains",
          TSDF, "12, section 2", s.retraining_undoes),
    Claim("A second, poisoning pattern makes the defence last",
          TSDF, "12, section 2", s.tsdf_persists),
    Claim("It keeps the forger's face detector from finding the faces",
          TSDF, "06, section 8", s.poison_works),
    Claim("Intensity separation leaves the interruption whole",
          TSDF, "06, section 8", s.poison_is_cheap),
    Claim("The defence is effective long-term, against real retraining pipelines", TSDF,
          why="needs generators trained on with their critics for thousands of steps, and three "
          "detectors whose weights are not in any package; MTCNN stands in"),
    Claim("Suppressing gradient conflict helps where targets compete",
          CSDFD, "11, section 3", s.conflict_projection),
    Claim("Training on original and synthesised fakes together is worse than on either alone",
          CSDFD, "13, section 4", d.joint_training_hurts),
    Claim("The gradients of original and of synthesised fakes conflict",
          CSDFD, "13, section 2", d.kinds_conflict),
    Claim("UVS, an update that serves both kinds, beats weighting them", CSDFD, "13, section 4",
          d.uvs_helps),
    Claim("Less conflict between the kinds brings generalisation",
          CSDFD, "13, section 4", d.less_conflict_generalises),
    Claim("CS-DFD detects forgers it was not trained on better than joint training does",
          CSDFD, "13, section 4", d.unseen_generators),
    Claim("It takes about 2 % more time", CSDFD, "13, section 4", d.little_time),
    Claim("A gradient's signal-to-noise ratio predicts how far one can go",
          CORIT, "08, sections 1 and 5", s.gsnr_predicts),
    Claim("Trained by SAM, detectors of forgeries without semantics fall to chance past a narrow "
          "radius", CORIT, "14, section 2", d.sam_collapses),
    Claim("A semantic prior makes them collapse", CORIT, "14, section 2", d.prior_collapses),
    Claim("The critical radius rises with GSNR", CORIT, "14, section 4", d.radius_rises_with_gsnr),
    Claim("GSNR fades from layer to layer", CORIT, "14, section 3", d.gsnr_fades),
    Claim("Low GSNR causes the collapse, not what else large radii break",
          CORIT, "14, section 5", d.gsnr_causes_collapse),
    Claim("CoRIT's training-free parts help a detector", CORIT, "14, section 6", d.parts_help),
    Claim("Max-min weights relative to single-model references give the best worst generator",
          OURS, "06, section 3", s.maxmin_best),
    Claim("An identity loss, unedited photos coming back unchanged, makes a generator robust",
          OURS, "09, section 2", s.identity_protects),
)  # fmt: skip


def ledger(evidence: Evidence, claims: tuple[Claim, ...] = CLAIMS) -> pd.DataFrame:
    """Every claim with its verdict: claim, source, tested in, verdict, numbers, criterion."""
    rows = []
    for claim in claims:
        word, numbers = judge(claim, evidence)
        criterion = " ".join(inspect.getdoc(claim.judge).split()) if claim.judge else ""
        rows.append({"claim": claim.text, "source": claim.source, "tested in": claim.tested,
                     "verdict": word, "numbers": numbers, "criterion": criterion})  # fmt: skip
    return pd.DataFrame(rows)


def judge(claim: Claim, evidence: Evidence) -> w.Verdict:
    """The verdict on one claim; `NotMeasured` and missing numbers become a word of their own."""
    if claim.judge is None:
        return w.Verdict(w.CANNOT, claim.why)
    try:
        return claim.judge(evidence)
    except NotMeasured as missing:
        return w.Verdict(w.OPEN, str(missing))


def tally(rows: pd.DataFrame) -> pd.Series:
    """How many claims got which word."""
    return rows["verdict"].value_counts().reindex(w.WORDS, fill_value=0).rename("claims")


def markdown(rows: pd.DataFrame, profile: str) -> str:
    """The ledger as a page: a table, then the criteria."""
    head = (
        "# Ledger of claims\n\n"
        f"Written by [notebook 12](../notebooks/12_claims.ipynb), profile `{profile}`; do not edit."
        " Verdicts come from code ([verdicts.py](../notebooks/companion/claims/verdicts.py),"
        " [seeds.py](../notebooks/companion/claims/seeds.py),"
        " [detectors.py](../notebooks/companion/claims/detectors.py)) applied to measured numbers."
        "\n\n"
        "| claim | source | tested in | verdict | numbers |\n|---|---|---|---|---|\n"
    )
    table = "".join(
        f"| {' | '.join((*row[:2], linked(row[2]), f'**{row[3]}**', row[4]))} |\n"
        for row in rows[["claim", "source", "tested in", "verdict", "numbers"]].itertuples(
            index=False
        )
    )
    rules = "".join(f"- *{r.claim}*: {r.criterion}\n" for r in rows.itertuples() if r.criterion)
    return f"{head}{table}\n## Criteria\n\nA claim holds if:\n\n{rules}"


def linked(tested: str) -> str:
    """ "13, section 4" with a link to notebook 13."""
    paths = {p.name[:2]: p.name for p in (REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    return re.sub(r"\b\d\d\b", lambda m: f"[{m[0]}](../notebooks/{paths[m[0]]})", tested)


def keep(rows: pd.DataFrame, profile: str) -> Path:
    """Write the page: `docs/claims.md`, or beside the runs for the smoke profile's noise."""
    path = home() / "claims.md" if profile == "smoke" else REPOSITORY / "docs" / "claims.md"
    write_text(path, markdown(rows, profile))
    return path
