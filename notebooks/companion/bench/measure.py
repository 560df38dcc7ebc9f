"""Time and memory of competing steps: interleaved, paired, as ratios with their spread."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pandas as pd
import torch

Step = Callable[[], object]


def stepper(loop: Iterator) -> Step:
    """A function that does one step of the loop per call."""
    return lambda: next(loop)


def paired(
    contenders: Mapping[str, Step],
    repetitions: int = 5,
    steps: int = 1,
    warmup: int = 1,
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    """Time every contender once per repetition, in an order that rotates.

    Other load on the machine then slows all contenders alike: their ratios within a repetition can
    be compared, even where their seconds cannot.

    Parameters
    ----------
    contenders : mapping of name to a function that does one step
    repetitions : int
        Every contender is timed once in each.
    steps : int
        Steps per measurement.
    warmup : int
        Steps before the first repetition: caches, algorithm choice, compilation.

    Returns
    -------
    DataFrame with columns repetition, name, seconds (wall clock, per step) and cpu_seconds (of
    this process, all threads, per step: the steadier clock on a busy machine).
    """
    device = torch.device(device)
    for step in contenders.values():
        for _ in range(warmup):
            step()
    names, rows = list(contenders), []
    gc.collect()
    gc.disable()  # a collection in the middle would be blamed on whoever is running
    try:
        for repetition in range(repetitions):
            turn = repetition % len(names)
            for name in names[turn:] + names[:turn]:
                wall, cpu = _clocked(contenders[name], steps, device)
                rows.append(
                    {"repetition": repetition, "name": name, "seconds": wall, "cpu_seconds": cpu}
                )
    finally:
        gc.enable()
    return pd.DataFrame(rows)


def _clocked(step: Step, steps: int, device: torch.device) -> tuple[float, float]:
    synchronise(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    synchronise(device)
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio(times: pd.DataFrame, above: str, below: str, clock: str = "seconds") -> pd.Series:
    """Time of `above` over time of `below`, per repetition: value (median), low, high (range)."""
    table = times.pivot(index="repetition", columns="name", values=clock)
    return spread(table[above] / table[below]).rename(f"{above} / {below}")


def spread(each: pd.Series) -> pd.Series:
    """A ratio that every repetition measured: value (median), low, high (range)."""
    return pd.Series({"value": each.median(), "low": each.min(), "high": each.max()})


def peak_memory(step: Step, device: str | torch.device = "cpu") -> int:
    """The most bytes of tensors that a step allocates beyond those allocated before it.

    From the allocator's statistics on CUDA, from the profiler's record of every allocation on the
    CPU. Weights, images and clean references do not count: they were there before.
    """
    device = torch.device(device)
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with (
        _without_stderr(),
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
        ) as profile,
    ):
        step()
    now = peak = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Without the profiler's remarks on missing GPUs and on earlier allocations."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
