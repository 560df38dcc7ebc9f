"""One judgement per claim of the paper: an explicit criterion, applied to what was measured.

Each function's docstring is its criterion, as the ledger prints it.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from companion.claims.evidence import RIVALS, Evidence
from companion.studies.main_table import load_results, results_path
from companion.studies.study import verdict

HOLDS, PART, NOT = "holds", "holds in part", "does not hold here"
CANNOT, OPEN = "cannot be tested here", "not measured yet"
WORDS = (HOLDS, PART, NOT, CANNOT, OPEN)


class Verdict(NamedTuple):
    """A word of `WORDS`, and the numbers it rests on in one line."""

    word: str
    numbers: str


def grade(full: bool, part: bool) -> str:
    """The word for a criterion met in full, in part, or not."""
    return HOLDS if full else PART if part else NOT


def _shares(e: Evidence, method: str) -> tuple[pd.Series, pd.Series]:
    """Share of its specialist's L2_mask each generator reaches under a method, and the L2_mask."""
    table = e.table("01_imbalance")
    level = table.pivot(index="model", columns="method", values="value")
    return level[method] / level["specialist"], level[method]


def _imbalanced(e: Evidence, method: str) -> Verdict:
    share, level = _shares(e, method)
    ratio = share.min() / share.max()
    fold = level.max() / level.min()
    numbers = (
        f"{share.idxmax()} reaches {share.max():.0%} of its ceiling, {share.idxmin()} "
        f"{share.min():.0%}; mean L2_mask of best and worst differ {fold:.1f}-fold"
    )
    return Verdict(grade(ratio < 0.5, ratio < 0.9), numbers)


def imbalance(e: Evidence) -> Verdict:
    """Under averaging the worst generator reaches less than half (in part: nine tenths) of the
    share of its own ceiling that the best reaches."""
    return _imbalanced(e, "uniform")


def static_fails(e: Evidence) -> Verdict:
    """The same under static normalisation."""
    return _imbalanced(e, "grad-norm")


def gradients_conflict(e: Evidence) -> Verdict:
    """Most pairs of generators (in part: some) have a negative mean gradient cosine under
    averaging."""
    cosines = np.array(e.data("01_conflicts")["uniform"])
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    negative = (pairs < 0).mean()
    numbers = f"{negative:.0%} of pairs negative; cosines {pairs.min():+.2f} to {pairs.max():+.2f}"
    return Verdict(grade(negative > 0.5, negative > 0), numbers)


def favours_resistant(e: Evidence) -> Verdict:
    """AEF's largest mean weight is on the generator with the least S, at 1.5 times an equal weight
    or more (in part: on that generator, but smaller)."""
    weight, strength = (
        t[t["method"] == "aef"].set_index("model")["value"]
        for t in (e.table("02_weights"), e.table("02_strength"))
    )
    right = weight.idxmax() == strength.idxmin()
    numbers = (
        f"least S: {strength.idxmin()}; largest weight: {weight.idxmax()} ({weight.max():.2f}, "
        f"equal would be {1 / len(weight):.2f})"
    )
    return Verdict(grade(right and weight.max() >= 1.5 / len(weight), right), numbers)


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
    better = [w == "better" for w in words.values()]
    return Verdict(grade(all(better), any(better)), numbers)


def beats_averaging(e: Evidence) -> Verdict:
    """At the paper's tau, AEF's worst generator is higher and its spread lower than averaging's,
    both intervals clear of zero (in part: one of the two)."""
    return _better_than(e, "uniform")


def beats_static(e: Evidence) -> Verdict:
    """The same against static normalisation."""
    return _better_than(e, "grad-norm")


def beats_methods(e: Evidence) -> Verdict:
    """AEF's worst generator is clearly higher than that of each of CMUA, FOUND, DWT and TSDF at
    equal computation (in part: than that of some)."""
    words = {m: _against(e, "methods", m)[0]["min"] for m in RIVALS}
    better = [m for m, word in words.items() if word == "better"]
    worse = [m for m, word in words.items() if word == "worse"]
    numbers = f"higher than {', '.join(better) or 'none'}; lower than {', '.join(worse) or 'none'}"
    return Verdict(grade(len(better) == len(words), bool(better)), numbers)


def uniform_success(e: Evidence) -> Verdict:
    """AEF's success rate is at least 0.5 for every generator and differs by at most 0.2 (in part:
    it differs less than under averaging)."""
    rate = _measure(e, "SR_mask")
    aef, rest = rate.loc["AEF"], rate.loc["MI-FGSM"]
    numbers = (
        f"SR_mask of AEF: worst {aef['min']:.2f}, spread {aef['spread']:.2f}; "
        f"of averaging: {rest['min']:.2f}, {rest['spread']:.2f}"
    )
    even = aef["min"] >= 0.5 and aef["spread"] <= 0.2
    return Verdict(grade(even, aef["spread"] < rest["spread"]), numbers)


def _measure(e: Evidence, measure: str) -> pd.DataFrame:
    table = e.table("06_strength_and_balance")
    rows = table[table["measure"] == measure]
    return rows.pivot(index="method", columns="model", values="value")


def high_and_uniform(e: Evidence) -> Verdict:
    """AEF's success rate is at least 0.5 for every generator, its worst generator clearly higher
    than under averaging and its mean not clearly lower (in part: only these two)."""
    rows = e.table("rules")
    rows = rows[rows["baseline"] == "uniform"].set_index("measure")
    up = verdict(rows.loc["min"], "higher") == "better"
    kept = verdict(rows.loc["mean"], "higher") != "worse"
    rate = _measure(e, "SR_mask").loc["AEF", "min"]
    numbers = (
        f"worst {rows.loc['min', 'value']:+.5f}, mean {rows.loc['mean', 'value']:+.5f} against "
        f"averaging; success rate of the worst {rate:.2f}"
    )
    return Verdict(grade(up and kept and rate >= 0.5, up and kept), numbers)


def equilibrium_reached(e: Evidence) -> Verdict:
    """AEF ends within a tenth of the max-min equilibrium of S (relative gap; in part: nearer than
    averaging)."""
    gap = e.table("equilibrium")["relative gap"]
    numbers = ", ".join(f"{m} {v:.2f}" for m, v in gap.items())
    word = grade(gap["aef"] <= 0.1, gap["aef"] < gap["uniform"])
    return Verdict(word, f"relative gap: {numbers}")


def no_tuning(e: Evidence) -> Verdict:
    """At the paper's tau 0.1 the worst generator reaches nine tenths (in part: half) of what it
    reaches at the best tau of the sweep."""
    worst = e.table("02_tau").groupby("tau")["l2_mask"].min()
    share = worst[0.1] / worst.max()
    numbers = f"worst generator {worst[0.1]:.4f} at 0.1, {worst.max():.4f} at {worst.idxmax():g}"
    return Verdict(grade(share >= 0.9, share >= 0.5), numbers)


def stable(e: Evidence) -> Verdict:
    """In the last quarter of AEF's runs a weight moves by less than 0.02 a step on average (in
    part: 0.1)."""
    moved = e.table("equilibrium").loc["aef", "restlessness"]
    return Verdict(grade(moved < 0.02, moved < 0.1), f"{moved:.4f} a step")


def free_weights(e: Evidence) -> Verdict:
    """A step under AEF's weights takes at most 1.05 (in part: 1.2) times one under averaging."""
    row = e.table("04_rules").set_index("index").loc["aef"]
    numbers = "{value:.2f} [{low:.2f}, {high:.2f}] times".format(**row)
    return Verdict(grade(row["value"] <= 1.05, row["value"] <= 1.2), numbers)


def faster(e: Evidence) -> Verdict:
    """At equal computation AEF's run takes at least a tenth less time than FOUND's and CMUA's (in
    part: than one of theirs)."""
    rows = e.table("06_strength_and_balance")
    seconds = rows[rows["measure"] == "seconds"].set_index("method")["value"]
    quick = [seconds["AEF"] <= 0.9 * seconds[m] for m in ("FOUND", "CMUA")]
    numbers = ", ".join(f"{m} {seconds[m]:.0f} s" for m in ("AEF", "FOUND", "CMUA"))
    return Verdict(grade(all(quick), any(quick)), numbers)


def invisible(e: Evidence) -> Verdict:
    """AEF's SSIM is at least 0.90, the paper's, and no rival's but the chroma-only DWT's is higher
    by more than 0.01 (in part: one of the two)."""
    rows = e.table("06_strength_and_balance")
    value = rows[rows["measure"].isin(["SSIM", "PSNR"])]
    value = value.pivot(index="method", columns="measure", values="value")
    ssim = value["SSIM"]
    rivals = max(ssim[m] for m in RIVALS if m != "DWT")
    good, alike = ssim["AEF"] >= 0.90, ssim["AEF"] >= rivals - 0.01
    numbers = (
        f"SSIM {ssim['AEF']:.3f} (rivals up to {rivals:.3f}, DWT {ssim['DWT']:.3f}), "
        f"PSNR {value.loc['AEF', 'PSNR']:.1f} dB"
    )
    return Verdict(grade(good and alike, good or alike), numbers)


def other_faces(e: Evidence) -> Verdict:
    """On CelebA and on LFW AEF's worst generator is at least as high as each rival's (in part: on
    one set, or than some)."""
    won, total, said = 0, 0, []
    for data in ("celeba", "lfw"):
        if not (path := results_path(data)).exists():
            return Verdict(OPEN, f"python -m companion methods --data {data} --root PATH --write")
        numbers = load_results(path)[1]
        worst = numbers[(numbers["measure"] == "L2_mask") & (numbers["model"] == "min")]
        worst = worst.set_index("method")["value"]
        beaten = [m for m in RIVALS if worst["AEF"] >= worst[m]]
        won, total = won + len(beaten), total + len(RIVALS)
        said.append(f"{data} {worst['AEF']:.4f}, not below {', '.join(beaten) or 'none'}")
    return Verdict(grade(won == total, won > 0), "; ".join(said))
