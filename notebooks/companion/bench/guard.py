"""The benchmark, its kept ratios, and whether a new measurement is worse."""

import json
import platform
from pathlib import Path

import pandas as pd
import torch

from aef_core.atomic import write_text
from aef_core.errors import NotFound
from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import make_rule
from companion.bench.costs import device_of
from companion.bench.floor import bare_steps
from companion.bench.measure import peak_memory, ratio, stepper
from companion.bench.published import published_steps

KEPT = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.15  # a median may be so much worse before it counts; CPU ratios vary by about 0.05
TARGETS = {"step / floor": ("at most", 1.10), "published / fast step": ("at least", 3.0)}
PAIRS = (("step", "floor"), ("published", "step"), ("published", "fast step"))
SCHEDULES = {"": 0, " (3 feature steps)": 3}


def ratios(plain: pd.DataFrame, scheduled: pd.DataFrame) -> pd.DataFrame:
    """Our step against the floor, and the published-style loop against our step.

    Both for the plain step and for the paper's schedule with three feature steps before it: times
    from `race.race` with the feature steps of `SCHEDULES`.

    Returns
    -------
    DataFrame indexed by the ratio's name, with columns value (median), low, high (range).
    """
    rows = {
        f"{above} / {below}{label}": ratio(times, above, below)
        for label, times in zip(SCHEDULES, (plain, scheduled), strict=True)
        for above, below in PAIRS
    }
    return pd.DataFrame(rows).T


def peaks(zoo: Zoo, faces: FaceBatch, batch: int = 8) -> pd.Series:
    """Peak memory of a step beyond what is kept, in MB (10^6 bytes): floor, ours, published."""
    device = device_of(zoo)
    config = PerturbationConfig(steps=10_000, batch=batch)
    loops = {
        "floor": bare_steps(zoo, faces, config),
        "step": perturb(Problem(zoo, faces), make_rule("aef"), config),
        "published": published_steps(zoo, faces, make_rule("aef"), config),
    }
    for loop in loops.values():
        next(loop)
    return pd.Series({k: peak_memory(stepper(v), device) / 1e6 for k, v in loops.items()})


def machine(device: torch.device) -> dict[str, str | int]:
    """What a ratio was measured with; no host name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def keep(table: pd.DataFrame, setup: dict[str, str | int], path: Path = KEPT) -> None:
    """Write the kept file: ratios with their ranges, and what they were measured with."""
    record = {"measured with": setup, "ratios": table.round(3).to_dict(orient="index")}
    write_text(path, json.dumps(record, indent=1) + "\n")


def regressions(table: pd.DataFrame, path: Path = KEPT, tolerance: float = TOLERANCE) -> list[str]:
    """The ratios worse than the kept ones by more than the tolerance, or not kept, in words.

    A time over the floor is worse when larger, a speed-up over the published loop when smaller.

    Raises
    ------
    FileNotFoundError
        Nothing was kept yet.
    """
    if not path.exists():
        raise NotFound(f"{path} is missing: make it with `python -m companion bench --write`")
    before, worse = json.loads(path.read_text())["ratios"], []
    for name, row in table.iterrows():
        if name not in before:
            worse.append(f"{name} was never kept: keep it with `python -m companion bench --write`")
            continue
        old, now = before[name]["value"], row["value"]
        slower = now / old if name.startswith("step") else old / now
        if slower > 1 + tolerance:
            worse.append(f"{name} was {old:.2f}, is {now:.2f}")
    return worse


def verdicts(table: pd.DataFrame) -> list[str]:
    """Each target and whether the median meets it."""
    lines = []
    for name, (word, bound) in TARGETS.items():
        for label in (n for n in table.index if n.startswith(name)):
            value = table.loc[label, "value"]
            met = value <= bound if word == "at most" else value >= bound
            lines.append(
                f"{label}: {value:.2f}, target {word} {bound:.2f}: {'met' if met else 'missed'}"
            )
    return lines
