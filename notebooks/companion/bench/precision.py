"""Half the bits: what lower precision and another layout gain, and whether the result suffers."""

import copy
import json
import time
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
import torch

from aef_core.atomic import write_text
from aef_core.config import home
from aef_core.faces import FaceBatch
from aef_core.metrics.evaluation import evaluate_run
from aef_core.models.base import fingerprint
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.execution import FAST, PLAIN, Execution
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.runs import optimize
from aef_core.weighting import make_rule
from companion.bench.costs import device_of
from companion.bench.measure import paired, ratio, stepper, synchronise
from companion.studies.study import Lab, intervals

SETTINGS = {
    "float32 (default)": PLAIN,
    "channels last": Execution(channels_last=True),
    "bf16": Execution(precision="bf16"),
    "bf16, channels last": FAST,
}
RACED = {"float32 (default)": "step", "bf16, channels last": "fast step"}  # in `race.race`


def speedups(times: pd.DataFrame) -> pd.DataFrame:
    """The published-style loop's time over our step's, for each way of computing it.

    `times` from `race.race` with everything.

    Returns
    -------
    DataFrame indexed by setting, with columns value (median), low, high (range).
    """
    timed = {name: RACED.get(name, name) for name in SETTINGS}
    return pd.DataFrame({k: ratio(times, "published", v) for k, v in timed.items()}).T


def fastest(zoo: Zoo, faces: FaceBatch, batch: int = 8, repetitions: int = 3) -> Execution:
    """The way of computing a step that is fastest here, measured once on each machine and kept.

    bf16 gains only where the processor multiplies it itself, channels last mostly then.
    """
    device, path = device_of(zoo), home() / "fastest.json"
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    key = f"{chip}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch {batch}"
    key += f", {', '.join(fingerprint(model) for model in zoo.values())}"
    known = json.loads(path.read_text()) if path.exists() else {}
    if known.get(key) not in SETTINGS:
        config = PerturbationConfig(steps=10_000, batch=batch, feature_steps=0)
        contenders = {
            name: stepper(perturb(Problem(zoo, faces, execution=e), make_rule("uniform"), config))
            for name, e in SETTINGS.items()
        }
        times = paired(contenders, repetitions, device=device)
        known[key] = times.groupby("name")["seconds"].median().idxmin()
        write_text(path, json.dumps(known, indent=1) + "\n")
    return SETTINGS[known[key]]


def _processor() -> str:
    can = torch.cpu.get_capabilities()
    paths = (name for name in ("amx_bf16", "avx512_bf16", "bf16") if can.get(name))
    return " ".join((can.get("cpu_name", can["architecture"]), *paths))


def compiled(zoo: Zoo) -> Zoo:
    """The generators with their passes compiled; the given ones stay untouched."""
    # every generator and mode of gradients counts against one limit of the shared code
    torch._dynamo.config.recompile_limit = 64
    copies = {name: copy.copy(model) for name, model in zoo.items()}
    for model in copies.values():
        for method in ("encode", "forward_with_feature"):
            setattr(model, method, torch.compile(getattr(model, method)))
    return copies


def compilation(zoo: Zoo, faces: FaceBatch, batch: int = 8, repetitions: int = 5) -> pd.DataFrame:
    """What torch.compile gains on a plain step, and what it costs before the first one.

    Needs a C++ compiler on a CPU, and minutes.

    Returns
    -------
    DataFrame indexed by setting: value (median), low, high (range) of a step's time without over
    with compilation; `startup`, seconds of the first compiled step.
    """
    config = PerturbationConfig(steps=10_000, batch=batch, feature_steps=0)
    device, rows = device_of(zoo), {}
    for name in ("float32 (default)", "bf16, channels last"):
        prepared = SETTINGS[name].prepared(zoo)
        steppers = [
            stepper(perturb(Problem(models, faces), make_rule("aef"), config))
            for models in (prepared, compiled(prepared))
        ]
        began = time.perf_counter()
        steppers[1]()
        synchronise(device)
        startup = time.perf_counter() - began
        contenders = dict(zip(("plain", "compiled"), steppers, strict=True))
        times = paired(contenders, repetitions, device=device)
        rows[name] = {**ratio(times, "plain", "compiled"), "startup": startup}
    return pd.DataFrame(rows).T


def effect(lab: Lab, seeds: Iterable[int] = (0,)) -> pd.DataFrame:
    """AEF's perturbation made in float32 and with `FAST`, judged by the same float32 generators.

    Returns
    -------
    DataFrame indexed by generator: `float32` and `fast`, the mean L2_mask on unseen faces; `low`
    and `high`, float32's 95 % interval over images and seeds; `inside`, whether fast lies in it.
    """
    tables = []
    for seed in seeds:
        config = replace(lab.config, seed=seed)
        for name, execution in (("float32", PLAIN), ("fast", FAST)):
            run = optimize(lab.zoo, lab.train, "aef", config, execution=execution)
            tables.append(evaluate_run(run, lab.evaluator).assign(method=name, seed=seed))
    rows = intervals(pd.concat(tables, ignore_index=True)).set_index(["model", "method"])
    view = rows["value"].unstack("method").join(rows.xs("float32", level="method")[["low", "high"]])
    view = view.loc[list(lab.zoo)]
    return view.assign(inside=view["fast"].between(view["low"], view["high"]))
