"""The ledger of claims: what the paper and the seeds say, where it is tested, and what came out."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from companion.claims import detectors as d
from companion.claims import seeds as s
from companion.claims import verdicts as v
from companion.claims import words as w
from companion.claims.evidence import Evidence, NotMeasured
from companion.claims.page import keep, markdown, tally
from companion.detectors.falsifiers import SMALLEST_AUC
from companion.studies.differences import SMALLEST_EFFECT

__all__ = ["CLAIMS", "Claim", "judge", "keep", "ledger", "markdown", "tally"]

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
    smallest : str
        The smallest effect that the judge counts, in words.
    decisive : bool
        One of the five rows that say what of the paper holds.
    """

    text: str
    source: str
    tested: str = ""
    judge: Callable[[Evidence], w.Verdict] | None = None
    why: str = ""
    smallest: str = ""
    decisive: bool = False


OF_REFERENCE = f"{SMALLEST_EFFECT:.0%} of what a reference has above random"
OF_CLASSIFIER = f"{SMALLEST_EFFECT:.0%} of the hardest classifier's reference"
OF_AUC = f"{SMALLEST_AUC:g} of AUC"
A_RADIUS = "one step of the grid of radii"

CLAIMS: tuple[Claim, ...] = (
    Claim("Universal perturbations are biased to susceptible models and neglect resistant ones",
          PAPER, "01, section 2", v.imbalance,
          smallest="a tenth of the best one's share", decisive=True),
    Claim("Static gradient normalisation does not resolve the imbalance",
          PAPER, "01, section 2", v.static_fails, smallest="a tenth of the best one's share"),
    Claim("The cause is conflict between the architectures' gradients",
          PAPER, "01, section 4", v.gradients_conflict,
          smallest="a cosine of -0.05", decisive=True),
    Claim("Loss feedback gives the most resistant model the greatest weight",
          PAPER, "02, section 3", v.favours_resistant, smallest="1.05 times an equal weight"),
    Claim("AEF is more balanced than averaging", PAPER, "02, section 2", v.beats_averaging,
          smallest=OF_REFERENCE, decisive=True),
    Claim("AEF is more balanced than static normalisation",
          PAPER, "02, section 2", v.beats_static, smallest=OF_REFERENCE),
    Claim("AEF reaches high and uniform effectiveness together",
          PAPER, "02, section 2; 12, section 1", v.high_and_uniform,
          smallest=OF_REFERENCE, decisive=True),
    Claim("AEF reaches an equilibrium", PAPER, "12, section 1", v.equilibrium_reached,
          smallest="0.05 of the gap"),
    Claim("AEF keeps a consistent success rate across architectures",
          PAPER, "06, section 3", v.uniform_success, smallest="0.05 of the success rate"),
    Claim("AEF interrupts more evenly than CMUA, FOUND, DWT and TSDF",
          FIGURES, "06, section 4", v.beats_methods, smallest=OF_REFERENCE, decisive=True),
    Claim("AEF interrupts more evenly than its rivals on CelebA and LFW, too",
          FIGURES, "06, section 5", v.other_faces, smallest=OF_REFERENCE),
    Claim("AEF interrupts more evenly than its rivals on FF++ frames, too", FIGURES,
          why="FF++ needs a signed form; "
          "`load_faces(\"ffpp\", root=...)` reads frames if you have them"),
    Claim("Dynamic weights add no cost", FIGURES, "04, section 4", v.free_weights,
          smallest="5% of a step"),
    Claim("AEF is faster than FOUND and CMUA", FIGURES,
          why="every method here is given the same computation, so its seconds are set, not found; "
          "what AEF's weights add to a step is a row of its own"),
    Claim("0.23 h of training against 0.67 h (FOUND) and over 5 h (CMUA)", FIGURES,
          why="hardware and schedules are not published"),
    Claim("The perturbation is imperceptible (SSIM of about 0.9)",
          FIGURES, "06, section 4", v.invisible, smallest="0.05 of SSIM"),
    Claim("The published values (mean L2_mask, success rates, recognition)", FIGURES,
          why="no code, weights or per-model table is public; `load_zoo(\"official\")` is ready "
          "for the four public generators, none of which could be fetched here"),
    Claim("No tuning per model is needed", REVIEW, "02, section 4", v.no_tuning,
          smallest="a tenth of the worst generator's level"),
    Claim("Feedback weights do not make the optimisation unstable",
          REVIEW, "12, section 1", v.stable, smallest="0.02 of weight a step"),
    Claim("The balance holds on held-out models", REVIEW, "10, section 3", s.balance_transfers,
          smallest="0.05 of worst / best"),
    Claim("AEF transfers to model families it has not seen",
          REVIEW, "10, section 1", s.new_family, smallest=OF_REFERENCE),
    Claim("The weighting extends to ensembles of image classifiers",
          REVIEW, "11, section 3", s.other_targets, smallest=OF_CLASSIFIER),
    Claim("Constraints on visibility keep the balance", REVIEW, "08, section 5", s.stealth,
          smallest="0.05 of worst / best"),
    Claim("Interruption alone degrades sharply when a forger retrains",
          TSDF, "12, section 2", s.retraining_undoes, smallest="half of the effect"),
    Claim("A second, poisoning pattern makes the defence last",
          TSDF, "12, section 2", s.tsdf_persists, smallest="0.05 of the effect"),
    Claim("Poison keeps the forger's face detector from finding the faces",
          TSDF, "06, section 8", s.poison_works, smallest="a tenth of the recall"),
    Claim("Intensity separation leaves the interruption whole", TSDF, "06, section 8",
          s.poison_is_cheap, smallest="a tenth of what is above random"),
    Claim("The defence is effective long-term, against real retraining pipelines", TSDF,
          why="needs generators trained on with their critics for thousands of steps, and three "
          "detectors whose weights are not in any package; MTCNN stands in"),
    Claim("Suppressing gradient conflict helps where targets compete",
          CSDFD, "11, section 3", s.conflict_projection, smallest=OF_CLASSIFIER),
    Claim("Training on original and synthesised fakes together is worse than on either alone",
          CSDFD, "13, section 4", d.joint_training_hurts, smallest=OF_AUC),
    Claim("The gradients of original and of synthesised fakes conflict",
          CSDFD, "13, section 2", d.kinds_conflict, smallest="0.05 of the steps"),
    Claim("UVS, an update that serves both kinds, beats weighting them", CSDFD, "13, section 4",
          d.uvs_helps, smallest=OF_AUC),
    Claim("Less conflict between the kinds brings generalisation", CSDFD, "13, section 4",
          d.less_conflict_generalises, smallest=f"0.05 of the cosine, {OF_AUC}"),
    Claim("CS-DFD detects forgers it was not trained on better than joint training does",
          CSDFD, "13, section 4", d.unseen_generators, smallest=OF_AUC),
    Claim("CS-DFD takes about 2 % more time", CSDFD, "13, section 4", d.little_time,
          smallest="5% of a step"),
    Claim("A gradient's signal-to-noise ratio predicts how far one can go",
          CORIT, "08, sections 1 and 4", s.gsnr_predicts, smallest="one pair of generators"),
    Claim("Trained by SAM, detectors of forgeries without semantics fall to chance past a narrow "
          "radius", CORIT, "14, section 2", d.sam_collapses, smallest=A_RADIUS),
    Claim("A semantic prior makes them collapse", CORIT, "14, section 2", d.prior_collapses,
          smallest=A_RADIUS),
    Claim("The critical radius rises with GSNR", CORIT, "14, section 4", d.radius_rises_with_gsnr,
          smallest="a correlation whose interval leaves out zero"),
    Claim("GSNR fades from layer to layer", CORIT, "14, section 3", d.gsnr_fades,
          smallest="a correlation whose interval leaves out zero"),
    Claim("Low GSNR causes the collapse, not what else large radii break",
          CORIT, "14, section 5", d.gsnr_causes_collapse, smallest="a collapse undone"),
    Claim("CoRIT's training-free parts help a detector", CORIT, "14, section 6", d.parts_help,
          smallest="0.05 of AUC"),
    Claim("Max-min weights relative to single-model references give the best worst generator",
          OURS, "06, section 3", s.maxmin_best, smallest=OF_REFERENCE),
    Claim("An identity loss, unedited photos coming back unchanged, makes a generator robust",
          OURS, "09, section 2", s.identity_protects, smallest="a twentieth of L2_mask"),
)  # fmt: skip


def ledger(evidence: Evidence, claims: tuple[Claim, ...] = CLAIMS) -> pd.DataFrame:
    """Every claim with its verdict, the decisive ones first.

    Returns
    -------
    DataFrame with columns claim, source, tested in, verdict, numbers, criterion, smallest effect
    and decisive.
    """
    rows = []
    for claim in sorted(claims, key=lambda c: not c.decisive):
        word, numbers = judge(claim, evidence)
        criterion = " ".join(inspect.getdoc(claim.judge).split()) if claim.judge else ""
        rows.append({"claim": claim.text, "source": claim.source, "tested in": claim.tested,
                     "verdict": word, "numbers": numbers, "criterion": criterion,
                     "smallest effect": claim.smallest, "decisive": claim.decisive})  # fmt: skip
    return pd.DataFrame(rows)


def judge(claim: Claim, evidence: Evidence) -> w.Verdict:
    """The verdict on one claim; `NotMeasured` and missing numbers become a word of their own."""
    if claim.judge is None:
        return w.Verdict(w.CANNOT, claim.why)
    try:
        return claim.judge(evidence)
    except NotMeasured as missing:
        return w.Verdict(w.OPEN, str(missing))
