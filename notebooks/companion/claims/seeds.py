"""Judgements on what the seeds beside the paper claim or ask: transfer, other targets, TSDF, ...

As in `verdicts`, each function's docstring is its criterion.
"""

import pandas as pd

from companion.claims.evidence import Evidence, NotMeasured
from companion.claims.words import Verdict, grade, grade_all
from companion.studies.curves import WITH, WITHOUT, arms_compared
from companion.studies.differences import NO_EFFECT, RANDOM, REFERENCE, SMALLEST_EFFECT, verdict
from companion.studies.resistance import pair_orders
from companion.studies.transfer import INSIDE, OUTSIDE

STATIC = ("uniform", "grad-norm")
AVERAGING = "averaging"


def balance_transfers(e: Evidence) -> Verdict:
    """Left out of AEF's optimisation, the worst generator is interrupted, above random, at least
    half as much as the best (in part: by 0.05 more evenly than when left out of averaging's)."""
    table = e.table("10_balance").set_index(["method", "role"])["worst / best"]
    aef, rest = table["AEF", OUTSIDE], table[AVERAGING, OUTSIDE]
    numbers = (
        f"worst / best when left out {aef:.2f} (averaging {rest:.2f}); "
        f"when optimised on {table['AEF', INSIDE]:.2f}"
    )
    if max(aef, rest) < SMALLEST_EFFECT:
        return Verdict(NO_EFFECT, numbers)
    return Verdict(grade(aef >= 0.5, aef - rest >= SMALLEST_EFFECT), numbers)


def new_family(e: Evidence) -> Verdict:
    """Above random, AEF interrupts the VAE, a family it never saw, at least half as much as the
    VAE's single-model reference (in part: clearly, and by 0.05 of the reference)."""
    rows = e.table("10_unseen").set_index("method")
    aef, alone = rows.loc["AEF"], rows.loc["made for the VAE"]
    share = aef["over_floor"] / alone["over_floor"]
    numbers = (
        f"L2_mask {aef['value']:.5f}; random {rows.loc[RANDOM, 'value']:.5f}, reference "
        f"{alone['value']:.5f}; share above random {share:.0%}"
    )
    if not (aef["over_low"] > 0 and share >= SMALLEST_EFFECT):
        return Verdict(NO_EFFECT, numbers)
    return Verdict(grade(share >= 0.5, True), numbers)


def other_targets(e: Evidence) -> Verdict:
    """On the classifiers AEF's worst one is flipped clearly more than averaging's (in part: another
    dynamic rule's is)."""
    gains = e.table("11_gains").set_index("index")
    words = {r: gains.loc[r, "word"] for r in gains.index if r not in STATIC}
    better = [r for r, word in words.items() if word == "better"]
    aef = gains.loc["aef"]
    numbers = "AEF {value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**aef)
    word = grade("aef" in better, bool(better)) if better else grade_all(words)
    return Verdict(word, f"{numbers}; better: {', '.join(better) or 'none'}")


def stealth(e: Evidence) -> Verdict:
    """Under every budget other than the box AEF is more even (worst / best) than averaging, by 0.05
    (in part: under some)."""
    table = e.table("08_budgets")
    even = table.pivot(index="budget", columns="method", values="worst / best").drop(index="box")
    gain = even["aef"] - even["uniform"]
    numbers = ", ".join(f"{b} {r['aef']:.3f} ({r['uniform']:.3f})" for b, r in even.iterrows())
    kept, said = gain >= SMALLEST_EFFECT, f"AEF (averaging): {numbers}"
    if (gain.abs() < SMALLEST_EFFECT).all():
        return Verdict(NO_EFFECT, said)
    return Verdict(grade(kept.all(), kept.any()), said)


def conflict_projection(e: Evidence) -> Verdict:
    """Removing conflicts (PCGrad, CAGrad, UPGrad) raises the worst classifier clearly over
    averaging, for all three (in part: for some)."""
    gains = e.table("11_gains").set_index("index")
    words = gains.loc[["pcgrad", "cagrad", "upgrad"], "word"]
    numbers = ", ".join(f"{r} {gains.loc[r, 'value']:+.3f} ({w})" for r, w in words.items())
    return Verdict(grade_all(dict(words)), numbers)


def gsnr_predicts(e: Evidence) -> Verdict:
    """The gradient signal-to-noise ratio ranks the generators as the L2_mask of their single-model
    references does (in part: but for two neighbours). Four generators can refute, not establish:
    of random orders one in six would hold in part."""
    gsnr = e.table("08_gradients").set_index("index")[["gsnr"]]
    table = e.table("01_imbalance")
    alone = table[table["method"] == REFERENCE].set_index("model")["value"]
    row = pair_orders(gsnr, alone).iloc[0]
    numbers = f"{row['same']} of {row['pairs']} pairs of generators are in its order"
    return Verdict(grade(row["same"] == row["pairs"], row["same"] == row["pairs"] - 1), numbers)


def _left_of_effects(e: Evidence) -> pd.Series:
    table = e.table("retraining")[["before", "share"]].astype(float)
    return table.loc[table["before"] >= table["before"].max() / 10, "share"]


def retraining_undoes(e: Evidence) -> Verdict:
    """After retraining on protected faces every pure interruption method that had a tenth of the
    largest effect on the generator keeps less than half of its own (in part: some do)."""
    share = _left_of_effects(e).drop("TSDF")
    gone = share < 0.5
    numbers = ", ".join(f"{m} keeps {v:.0%}" for m, v in share.items())
    return Verdict(grade(gone.all(), gone.any()), numbers)


def tsdf_persists(e: Evidence) -> Verdict:
    """TSDF's pattern keeps more of its effect through retraining than every other that had a tenth
    of the largest, by 0.05 (in part: than some), on faces the forger could still use."""
    share = _left_of_effects(e)
    below = share["TSDF"] - share.drop("TSDF") >= SMALLEST_EFFECT
    numbers = f"TSDF keeps {share['TSDF']:.0%}, others up to {share.drop('TSDF').max():.0%}"
    return Verdict(grade(below.all(), below.any()), numbers)


def poison_works(e: Evidence) -> Verdict:
    """MTCNN's recall under TSDF is at most half (in part: nine tenths) of that under AEF."""
    recall = e.table("detection")["recall"].astype(float)
    numbers = f"recall {recall['AEF']:.2f} under AEF, {recall['TSDF']:.2f} under TSDF"
    share = recall["TSDF"] / max(recall["AEF"], 1e-9)
    return Verdict(grade(share <= 0.5, share <= 0.9), numbers)


def poison_is_cheap(e: Evidence) -> Verdict:
    """With its poison TSDF's pattern keeps at least nine tenths (in part: half) of what the mean
    and the worst generator's L2_mask have above random."""
    rows = e.table("separation")[["min", "mean"]]
    over = (rows - rows.loc[RANDOM]).clip(lower=0)
    if (over.loc["interruption only"] == 0).any():
        return Verdict(NO_EFFECT, "the interruption alone is not above random")
    share = over.loc["TSDF"] / over.loc["interruption only"]
    numbers = f"keeps {share['min']:.0%} of the worst, {share['mean']:.0%} of the mean"
    return Verdict(grade(share.min() >= 0.9, share.min() >= 0.5), numbers)


def maxmin_best(e: Evidence) -> Verdict:
    """Our max-min's worst generator is above random and higher than that of CMUA, FOUND, DWT, TSDF
    and AEF, by a difference worth naming (in part: than some)."""
    rows = e.table("maxmin")
    low = rows[rows["measure"] == "min"].set_index("baseline")
    words = {m: verdict(row, "higher") for m, row in low.iterrows()}
    numbers = ", ".join(f"{m} {v:+.5f} ({words[m]})" for m, v in low["value"].items())
    return Verdict(grade_all(words), f"against {numbers}")


def identity_protects(e: Evidence) -> Verdict:
    """A generator trained with a loss on unedited faces has at most half the L2_mask, after as many
    images, of itself trained without (in part: less, by a twentieth or more)."""
    rows = arms_compared(e.table("09_fragility"))
    if rows.empty:
        raise NotMeasured("no generator was trained in both arms")
    ratio = rows["ratio"]
    words = [f"{m} {r[WITH]:.3f} with, {r[WITHOUT]:.3f} without" for m, r in rows.iterrows()]
    word = grade((ratio <= 0.5).all(), (ratio <= 1 - SMALLEST_EFFECT).any())
    return Verdict(word, "; ".join(words))
