"""Judgements on what the seeds beside the paper claim or ask: transfer, other targets, TSDF, ...

As in `verdicts`, each function's docstring is its criterion.
"""

import pandas as pd

from companion.claims.evidence import Evidence
from companion.claims.verdicts import Verdict, grade
from companion.studies import arms
from companion.studies.resistance import rank_correlations
from companion.studies.transfer import INSIDE, OUTSIDE, RANDOM

STATIC = ("uniform", "grad-norm")
AVERAGING = "averaging"


def balance_transfers(e: Evidence) -> Verdict:
    """Left out of AEF's optimisation, the worst generator is interrupted at least half as much as
    the best (in part: more evenly than when left out of averaging's)."""
    table = e.table("10_balance").set_index(["method", "role"])["worst / best"]
    aef, rest = table["AEF", OUTSIDE], table[AVERAGING, OUTSIDE]
    numbers = (
        f"worst / best when left out {aef:.2f} (averaging {rest:.2f}); "
        f"when optimised on {table['AEF', INSIDE]:.2f}"
    )
    return Verdict(grade(aef >= 0.5, aef > rest), numbers)


def new_family(e: Evidence) -> Verdict:
    """AEF interrupts the VAE, a family it never saw, at least half as much as the VAE's specialist
    (in part: clearly more than a random pattern)."""
    rows = e.table("10_unseen").set_index("method")
    aef, best = rows.loc["AEF"], rows.loc["specialist of the VAE", "value"]
    numbers = (
        f"L2_mask {aef['value']:.5f}; random {rows.loc[RANDOM, 'value']:.5f}, specialist {best:.5f}"
    )
    return Verdict(grade(aef["value"] >= best / 2, aef["over_low"] > 0), numbers)


def other_targets(e: Evidence) -> Verdict:
    """On the classifiers AEF's worst one is flipped clearly more than averaging's (in part: another
    dynamic rule's is)."""
    gains = e.table("11_gains").set_index("index")
    better = [r for r in gains.index if gains.loc[r, "word"] == "better" and r not in STATIC]
    aef = gains.loc["aef"]
    numbers = "AEF {value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**aef)
    return Verdict(
        grade("aef" in better, bool(better)), f"{numbers}; better: {', '.join(better) or 'none'}"
    )


def stealth(e: Evidence) -> Verdict:
    """Under every budget other than the box AEF is more even (worst / best) than averaging (in
    part: under some)."""
    table = e.table("08_budgets")
    even = table.pivot(index="budget", columns="method", values="worst / best").drop(index="box")
    kept = list(even.index[even["aef"] > even["uniform"]])
    numbers = ", ".join(f"{b} {r['aef']:.3f} ({r['uniform']:.3f})" for b, r in even.iterrows())
    return Verdict(grade(len(kept) == len(even), bool(kept)), f"AEF (averaging): {numbers}")


def conflict_projection(e: Evidence) -> Verdict:
    """Removing conflicts (PCGrad, CAGrad, UPGrad) raises the worst classifier clearly over
    averaging, for all three (in part: for some)."""
    gains = e.table("11_gains").set_index("index")
    words = gains.loc[["pcgrad", "cagrad", "upgrad"], "word"]
    numbers = ", ".join(f"{r} {gains.loc[r, 'value']:+.3f} ({w})" for r, w in words.items())
    better = words == "better"
    return Verdict(grade(better.all(), better.any()), numbers)


def gsnr_predicts(e: Evidence) -> Verdict:
    """The gradient signal-to-noise ratio ranks the generators as their specialists' L2_mask does
    (in part: the rank correlation is positive). Four generators can refute, not establish."""
    gsnr = e.table("08_gradients").set_index("index")[["gsnr"]]
    table = e.table("01_imbalance")
    ceiling = table[table["method"] == "specialist"].set_index("model")["value"]
    row = rank_correlations(gsnr, ceiling).iloc[0]
    numbers = f"rho {row['rho']:+.2f}, p {row['p']:.2f}"
    return Verdict(grade(row["rho"] > 0.999, row["rho"] > 0), numbers)


def retraining_undoes(e: Evidence) -> Verdict:
    """After retraining on protected faces every pure interruption method keeps less than half of
    its effect on the generator (in part: some do)."""
    share = e.table("retraining")["share"].drop("TSDF").astype(float)
    gone = share < 0.5
    numbers = ", ".join(f"{m} keeps {v:.0%}" for m, v in share.items())
    return Verdict(grade(gone.all(), gone.any()), numbers)


def tsdf_persists(e: Evidence) -> Verdict:
    """TSDF's pattern keeps more of its effect through retraining than every other (in part: than
    some), on faces the forger could still use."""
    share = e.table("retraining")["share"].astype(float)
    below = share.drop("TSDF") < share["TSDF"]
    numbers = f"TSDF keeps {share['TSDF']:.0%}, others up to {share.drop('TSDF').max():.0%}"
    return Verdict(grade(below.all(), below.any()), numbers)


def poison_works(e: Evidence) -> Verdict:
    """MTCNN's recall under TSDF is at most half (in part: nine tenths) of that under AEF."""
    recall = e.table("detection")["recall"].astype(float)
    numbers = f"recall {recall['AEF']:.2f} under AEF, {recall['TSDF']:.2f} under TSDF"
    share = recall["TSDF"] / max(recall["AEF"], 1e-9)
    return Verdict(grade(share <= 0.5, share <= 0.9), numbers)


def poison_is_cheap(e: Evidence) -> Verdict:
    """With its poison TSDF's pattern keeps at least nine tenths (in part: half) of the mean and of
    the worst generator's L2_mask."""
    rows = e.table("separation")
    share = rows.loc["TSDF", ["min", "mean"]] / rows.loc["interruption only", ["min", "mean"]]
    numbers = f"keeps {share['min']:.0%} of the worst, {share['mean']:.0%} of the mean"
    return Verdict(grade(share.min() >= 0.9, share.min() >= 0.5), numbers)


def maxmin_best(e: Evidence) -> Verdict:
    """Our max-min's worst generator is clearly higher than that of CMUA, FOUND, DWT, TSDF and AEF
    (in part: than some)."""
    rows = e.table("maxmin")
    low = rows[rows["measure"] == "min"].set_index("baseline")
    better = low.index[low["low"] > 0]
    numbers = ", ".join(f"{m} {v:+.5f}" for m, v in low["value"].items())
    return Verdict(grade(len(better) == len(low), len(better) > 0), f"against {numbers}")


def _effects(e: Evidence, loss: str) -> pd.DataFrame:
    rows = arms.effects(e.table("09_growth"))
    names = rows.index.get_level_values("effect")
    return rows[names.str.startswith(f"{loss}, ")]


def _told(rows: pd.DataFrame) -> str:
    return "; ".join(f"{a}, {effect}: {arms.told(row)}" for (a, effect), row in rows.iterrows())


def cycle_makes_fragile(e: Evidence) -> Verdict:
    """Adding the cycle raises L2_mask, without an identity loss and beside one, on every
    architecture it was added to (in part: somewhere); ratios, intervals over seeds above 1."""
    rows = _effects(e, "cycle")
    clear = rows["low"] > 1
    return Verdict(grade(clear.any() and clear.all(), clear.any()), _told(rows))


def identity_protects(e: Evidence) -> Verdict:
    """Adding an identity loss lowers L2_mask, without the cycle and beside it, on every
    architecture it was added to (in part: somewhere); ratios, intervals over seeds below 1."""
    rows = _effects(e, "identity")
    clear = rows["high"] < 1
    return Verdict(grade(clear.any() and clear.all(), clear.any()), _told(rows))
