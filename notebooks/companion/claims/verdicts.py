"""One judgement per claim of the paper: an explicit criterion, applied to what was measured.

Each function's docstring is its criterion, as the ledger prints it. "Better" and "higher" are words
of `differences.verdict`; numbers without an interval must differ by `SMALLEST_EFFECT`.
"""

import numpy as np
import pandas as pd

from aef_core.errors import NotFound
from companion.claims.evidence import RIVALS, Evidence, NotMeasured
from companion.claims.words import CANNOT, OPEN, Verdict, grade, grade_all
from companion.kept import photographs
from companion.studies.differences import (
    ABOVE_NOTHING,
    NO_EFFECT,
    RANDOM,
    REFERENCE,
    SMALLEST_EFFECT,
    verdict,
)
from companion.studies.judgement import AHEAD, OVER, SMALLEST


def _shares(e: Evidence, method: str) -> tuple[pd.Series, pd.Series]:
    """Share of its reference that each generator reaches, above random; and its L2_mask."""
    table = e.table("01_imbalance")
    level = table.pivot(index="model", columns="method", values="value")
    if RANDOM not in level:
        raise NotMeasured("01_imbalance.json has no random rows: run notebook 01")
    over = level.sub(level[RANDOM], axis=0).clip(lower=0)
    return over[method] / over[REFERENCE], level[method]


def _imbalanced(e: Evidence, method: str) -> Verdict:
    share, level = _shares(e, method)
    ratio = share.min() / share.max()
    fold = level.max() / level.min()
    numbers = (
        f"{share.idxmax()} reaches {share.max():.0%} of its reference, {share.idxmin()} "
        f"{share.min():.0%}; mean L2_mask of best and worst differ {fold:.1f}-fold"
    )
    return Verdict(grade(ratio < 0.5, ratio < 0.9), numbers)


def imbalance(e: Evidence) -> Verdict:
    """Under averaging the worst generator reaches less than half (in part: nine tenths) of the
    share of its single-model reference that the best reaches."""
    return _imbalanced(e, "uniform")


def static_fails(e: Evidence) -> Verdict:
    """Under static normalisation the worst generator reaches less than half (in part: nine tenths)
    of the share of its single-model reference that the best reaches."""
    return _imbalanced(e, "grad-norm")


def gradients_conflict(e: Evidence) -> Verdict:
    """Most pairs of generators (in part: some) have a mean gradient cosine of -0.05 or less under
    averaging; nearer to zero two gradients ask for unrelated changes, not for opposite ones."""
    cosines = np.array(e.data("01_conflicts")["uniform"])
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    negative = (pairs <= -SMALLEST_EFFECT).mean()
    numbers = f"{negative:.0%} of pairs conflict; cosines {pairs.min():+.2f} to {pairs.max():+.2f}"
    return Verdict(grade(negative > 0.5, negative > 0), numbers)


def favours_resistant(e: Evidence) -> Verdict:
    """AEF's largest mean weight is on the generator with the least S, at 1.5 times an equal weight
    or more (in part: on that generator, 1.05 times or more)."""
    weight, strength = (
        t[t["method"] == "AEF"].set_index("model")["value"]
        for t in (e.table("02_weights"), e.table("02_strength"))
    )
    right = weight.idxmax() == strength.idxmin()
    numbers = (
        f"least S: {strength.idxmin()}; largest weight: {weight.idxmax()} ({weight.max():.2f}, "
        f"equal would be {1 / len(weight):.2f})"
    )
    times = weight.max() * len(weight)
    if times < 1 + SMALLEST_EFFECT:
        return Verdict(NO_EFFECT, numbers)
    return Verdict(grade(right and times >= 1.5, right), numbers)


def _against(e: Evidence, name: str, baseline: str) -> tuple[dict[str, str], str]:
    """Words for min and spread of a method minus a baseline, and the numbers."""
    rows = e.table(name)
    rows = rows[rows["baseline"] == baseline].set_index("measure")
    wanted = {"min": "higher", "spread": "lower"}
    words = {m: verdict(rows.loc[m], better) for m, better in wanted.items()}
    numbers = "; ".join(
        f"{what} {{value:+.5f}} [{{low:+.5f}}, {{high:+.5f}}]".format(**rows.loc[m])
        for m, what in (("min", "worst generator"), ("spread", "spread"))
    )
    return words, numbers


def _better_than(e: Evidence, baseline: str) -> Verdict:
    words, numbers = _against(e, "rules", baseline)
    return Verdict(grade_all(words), numbers)


def beats_averaging(e: Evidence) -> Verdict:
    """At the paper's tau, AEF's worst generator is above random and higher, its spread lower than
    averaging's, by a difference worth naming (in part: one of the two)."""
    return _better_than(e, "uniform")


def beats_static(e: Evidence) -> Verdict:
    """At the paper's tau, AEF's worst generator is above random and higher, its spread lower than
    static normalisation's, by a difference worth naming (in part: one of the two)."""
    return _better_than(e, "grad-norm")


def beats_methods(e: Evidence) -> Verdict:
    """AEF's worst generator is clearly higher than that of each of CMUA, FOUND, DWT and TSDF at
    their published schedules (in part: than that of some)."""
    words = {m: _against(e, "methods", m)[0]["min"] for m in RIVALS}
    better = [m for m, word in words.items() if word == "better"]
    worse = [m for m, word in words.items() if word == "worse"]
    numbers = f"higher than {', '.join(better) or 'none'}; lower than {', '.join(worse) or 'none'}"
    if ABOVE_NOTHING in words.values():
        numbers = f"AEF's worst generator is {ABOVE_NOTHING}"
    return Verdict(grade_all(words), numbers)


def uniform_success(e: Evidence) -> Verdict:
    """AEF's success rate is at least 0.5 for every generator and differs by at most 0.2 (in part:
    its least is higher than under averaging and it differs less, both by 0.05)."""
    rate = _measure(e, "SR_mask")
    aef, rest = rate.loc["AEF"], rate.loc["MI-FGSM"]
    numbers = (
        f"SR_mask of AEF: worst {aef['min']:.2f}, spread {aef['spread']:.2f}; "
        f"of averaging: {rest['min']:.2f}, {rest['spread']:.2f}"
    )
    even = aef["min"] >= 0.5 and aef["spread"] <= 0.2
    more = aef["min"] - rest["min"] >= SMALLEST_EFFECT
    closer = rest["spread"] - aef["spread"] >= SMALLEST_EFFECT
    return Verdict(grade(even, more and closer), numbers)


def _measure(e: Evidence, measure: str) -> pd.DataFrame:
    table = e.table("06_methods")
    rows = table[table["measure"] == measure]
    return rows.pivot(index="method", columns="model", values="value")


def high_and_uniform(e: Evidence) -> Verdict:
    """AEF's success rate is at least 0.5 for every generator, its worst generator higher than under
    averaging and its mean not worse (in part: only these two)."""
    rows = e.table("rules")
    rows = rows[rows["baseline"] == "uniform"].set_index("measure")
    word = verdict(rows.loc["min"], "higher")
    mean_holds = verdict(rows.loc["mean"], "higher") != "worse"
    rate = _measure(e, "SR_mask").loc["AEF", "min"]
    numbers = (
        f"worst {rows.loc['min', 'value']:+.5f}, mean {rows.loc['mean', 'value']:+.5f} against "
        f"averaging; success rate of the worst {rate:.2f}"
    )
    if word in (NO_EFFECT, ABOVE_NOTHING) and mean_holds:
        return Verdict(NO_EFFECT, numbers)
    up = word == "better"
    return Verdict(grade(up and mean_holds and rate >= 0.5, up and mean_holds), numbers)


def equilibrium_reached(e: Evidence) -> Verdict:
    """AEF ends within a tenth of the max-min equilibrium of S (relative gap; in part: nearer than
    averaging by 0.05)."""
    gap = e.table("equilibrium")["relative gap"]
    numbers = ", ".join(f"{m} {v:.2f}" for m, v in gap.items())
    word = grade(gap["AEF"] <= 0.1, gap["uniform"] - gap["AEF"] >= SMALLEST_EFFECT)
    return Verdict(word, f"relative gap: {numbers}")


def no_tuning(e: Evidence) -> Verdict:
    """At the paper's tau 0.1 the worst generator reaches, above random, nine tenths (in part: half)
    of what it reaches at the tau chosen on a slice of the training faces."""
    table = e.table("02_tau")
    if not {"random", "chosen"} <= set(table):
        raise NotMeasured("02_tau.json is of an older protocol: run notebook 02")
    table = table.assign(over=(table["l2_mask"] - table["random"]).clip(lower=0))
    worst = table.groupby("tau")["over"].min()
    best = table.loc[table["chosen"], "tau"].iloc[0]
    numbers = f"worst generator {worst[0.1]:.5f} above random at 0.1, {worst[best]:.5f} at {best:g}"
    if worst[best] == 0:
        return Verdict(NO_EFFECT, numbers)
    share = worst[0.1] / worst[best]
    return Verdict(grade(share >= 0.9, share >= 0.5), numbers)


def stable(e: Evidence) -> Verdict:
    """In the last quarter of AEF's runs a weight moves by less than 0.02 a step on average (in
    part: 0.1); judged only where AEF's largest weight is 1.5 times an equal one or more: weights
    that stay those of averaging have nothing to swing with."""
    row = e.table("equilibrium").loc["AEF"]
    times = row["largest weight"] * row["generators"]
    numbers = f"{row['restlessness']:.4f} a step; largest weight {times:.2f} times an equal one"
    if times < 1.5:
        return Verdict(CANNOT, numbers)
    return Verdict(grade(row["restlessness"] < 0.02, row["restlessness"] < 0.1), numbers)


def free_weights(e: Evidence) -> Verdict:
    """A step under AEF's weights takes at most 1.05 (in part: 1.2) times one under averaging."""
    row = e.table("04_rules").set_index("index").loc["aef"]
    numbers = "{value:.2f} [{low:.2f}, {high:.2f}] times".format(**row)
    return Verdict(grade(row["value"] <= 1.05, row["value"] <= 1.2), numbers)


def invisible(e: Evidence) -> Verdict:
    """AEF's SSIM is at least 0.90, the paper's (in part: 0.85). That it is like its rivals' is no
    criterion: all fill the same bound."""
    rows = e.table("06_methods")
    value = rows[rows["measure"].isin(["SSIM", "PSNR"])]
    value = value.pivot(index="method", columns="measure", values="value")
    ssim = value["SSIM"]
    rivals = max(ssim[m] for m in RIVALS if m != "DWT")
    numbers = (
        f"SSIM {ssim['AEF']:.3f} (rivals up to {rivals:.3f}, DWT {ssim['DWT']:.3f}), "
        f"PSNR {value.loc['AEF', 'PSNR']:.1f} dB"
    )
    return Verdict(grade(ssim["AEF"] >= 0.90, ssim["AEF"] >= 0.85), numbers)


def other_faces(e: Evidence) -> Verdict:
    """On CelebA and on LFW AEF's worst generator is above random and higher than each rival's, by a
    difference worth naming (in part: on one set, or than some)."""
    try:
        numbers = photographs.load_judged()[1]
    except NotFound as error:
        return Verdict(OPEN, str(error))
    words, said = {}, []
    for data, part in numbers[numbers["model"] == "min"].groupby("data"):
        least = part.set_index(["measure", "method"])
        known = {"smallest": least.loc[(SMALLEST, REFERENCE), "value"],
                 "above": least.loc[(OVER, "AEF"), "low"] > 0}  # fmt: skip
        for m in RIVALS:
            words[data, m] = verdict(pd.Series({**least.loc[(AHEAD, m)], **known}), "higher")
        beaten = [m for m in RIVALS if words[data, m] == "better"]
        worst = least.loc[("L2_mask", "AEF"), "value"]
        said.append(f"{data} {worst:.4f}, higher than {', '.join(beaten) or 'none'}")
    return Verdict(grade_all(words), "; ".join(said))
