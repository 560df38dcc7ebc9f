"""`python -m companion bench`: measure, print, compare with the kept file or keep."""

from collections.abc import Mapping
from dataclasses import dataclass

from aef_core.config import default_device
from aef_core.errors import BadInput
from aef_core.faces import FaceBatch, load_faces
from aef_core.models.zoo import load_zoo
from aef_core.perturbation.objective import Zoo
from companion.bench import growth, guard, precision
from companion.bench.race import race
from companion.bench.subjects import SIZES, noise_faces, random_zoo
from companion.config import get_profile

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Plan:
    """How much `04_timing` measures in a profile."""

    profile: str
    size: str  # of the generators timed
    batch: int
    repetitions: int
    rules: tuple[str, ...]
    growth_size: str
    axes: Mapping[str, tuple[int, ...]]
    seeds: tuple[int, ...]  # with which lower precision's effect on the result is measured


FEW = ("grad-norm", "aef")
MORE = (*FEW, "max-min", "apgda", "mgda", "pcgrad", "upgrad", "cagrad")
PLANS = {
    plan.profile: plan
    for plan in (
        Plan("smoke", "tiny", 2, 2, FEW, "tiny", growth.SMOKE, (0,)),
        Plan("quick", EMBEDDED, 8, 3, MORE, "tiny", growth.QUICK, (0,)),
        # a GPU's work
        Plan("paper", "official", 8, 7, MORE, "official", growth.QUICK, (0, 1, 2)),
    )
}


def plan(profile: str | None = None) -> Plan:
    """The plan of a profile; `AEF_PROFILE` or "quick" by default."""
    return PLANS[get_profile(profile).name]


def subjects(size: str) -> tuple[Zoo, FaceBatch]:
    """Generators and faces of a size: the embedded ones, or random ones at 32 or 256 px.

    Raises
    ------
    ValueError
        Unknown size.
    """
    if size == EMBEDDED:
        return load_zoo(), load_faces("embedded", "train", n=16)
    if size not in SIZES:
        raise BadInput(f"unknown size {size!r}; known: {', '.join((EMBEDDED, *SIZES))}")
    pixels = 256 if size == "official" else 32
    return random_zoo(size, device=default_device()), noise_faces(16, pixels)


def report(
    size: str, batch: int, repetitions: int, check: bool, write: bool, compiled: bool = False
) -> None:
    """Print ratios, memory and the targets; with `check` or `write` use the kept file.

    With `compiled` measure torch.compile, too.

    Raises
    ------
    ValueError
        With `check`, if a ratio is worse than the kept one; or too few repetitions to keep.
    """
    if write and (repetitions < 5 or size != EMBEDDED):
        raise BadInput("only 5 or more repetitions on the embedded zoo are kept")
    zoo, faces = subjects(size)
    setup = guard.machine(default_device())
    print(" · ".join(f"{k} {v}" for k, v in setup.items()) + f" · {size}, batch {batch}")
    schedules = guard.SCHEDULES.values()
    table = guard.ratios(*(race(zoo, faces, batch, repetitions, n) for n in schedules))
    print(table.round(3).to_string())
    memory = guard.peaks(zoo, faces, batch)
    print("peak memory of a step, MB: " + ", ".join(f"{k} {v:.0f}" for k, v in memory.items()))
    for line in guard.verdicts(table):
        print(line)
    if compiled:
        gains = precision.compilation(zoo, faces, batch, repetitions)
        print("a step without over with torch.compile; startup in seconds")
        print(gains.round(2).to_string())
    if write:
        guard.keep(table, setup)
        print(f"kept in {guard.KEPT.name}")
    if check:
        worse = guard.regressions(table)
        if worse:
            raise BadInput("worse than the kept ratios, or not among them: " + "; ".join(worse))
        print("not slower than the kept ratios")
