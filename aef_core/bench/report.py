"""`python -m aef_core bench`: measure, print, compare with the kept file or keep."""

from aef_core.bench import guard
from aef_core.bench.subjects import SIZES, noise_faces, random_zoo
from aef_core.config import default_device
from aef_core.faces import FaceBatch, load_faces
from aef_core.interruption import Zoo
from aef_core.zoo import EMBEDDED, load_zoo


def subjects(size: str) -> tuple[Zoo, FaceBatch]:
    """Generators and faces of a size: the embedded ones, or random ones at 32 or 256 px.

    Raises
    ------
    ValueError
        Unknown size.
    """
    if size in EMBEDDED:
        return load_zoo(size), load_faces("embedded", "train", n=32)
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}; known: {', '.join((*EMBEDDED, *SIZES))}")
    pixels = 256 if size == "official" else 32
    return random_zoo(size, device=default_device()), noise_faces(16, pixels)


def report(size: str, batch: int, repetitions: int, check: bool, write: bool) -> None:
    """Print ratios, memory and the targets; with `check` or `write` use the kept file.

    Raises
    ------
    ValueError
        With `check`, if a ratio is worse than the kept one; or too few repetitions to keep.
    """
    if write and (repetitions < 5 or size not in EMBEDDED):
        raise ValueError("only 5 or more repetitions on the embedded zoo are kept")
    zoo, faces = subjects(size)
    setup = guard.machine(default_device())
    print(" · ".join(f"{k} {v}" for k, v in setup.items()) + f" · {size}, batch {batch}")
    table = guard.ratios(zoo, faces, batch, repetitions)
    print(table.round(3).to_string())
    memory = guard.peaks(zoo, faces, batch)
    print("peak memory of a step, MB: " + ", ".join(f"{k} {v:.0f}" for k, v in memory.items()))
    for line in guard.verdicts(table):
        print(line)
    if write:
        guard.keep(table, setup)
        print(f"kept in {guard.KEPT.name}")
    if check:
        worse = guard.regressions(table)
        if worse:
            raise ValueError("slower than the kept ratios: " + "; ".join(worse))
        print("not slower than the kept ratios")
