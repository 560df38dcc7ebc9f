"""Methods x seeds x bounds as independent tasks: on this machine, or on a cluster by its address.

Tasks share nothing but the run store, so they need no order; each is `optimize` and `evaluate_run`
as ever, and a sweep gives the tables that a plain loop gives. Dask distributes them.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pandas as pd
from dask.distributed import Client, LocalCluster

from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluations import evaluate_run
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.runs import optimize
from companion.studies.study import refuse_overlap

Methods = Mapping[str, tuple[str, dict[str, Any]]]  # label to (rule, settings)


@dataclass(frozen=True)
class Task:
    """One run of a sweep and its evaluation."""

    label: str
    rule: str
    settings: dict[str, Any]
    config: PerturbationConfig

    def run(self, zoo: Zoo, train: FaceBatch, test: FaceBatch) -> pd.DataFrame:
        """Optimise, or find the run; judge it. One row per image, generator and edit."""
        run = optimize(zoo, train, self.rule, self.config, progress=False, **self.settings)
        table = evaluate_run(run, Evaluator(zoo, test))
        seed, eps = self.config.seed, self.config.eps
        return table.assign(method=self.label, seed=seed, eps=eps)


def tasks(
    methods: Methods, config: PerturbationConfig, seeds: Iterable[int], epsilons: Iterable[float]
) -> list[Task]:
    """Every method with every seed and bound. Steps scale with eps: the schedule stays the same."""
    return [
        Task(label, rule, settings, replace(
            config, seed=seed, eps=eps, step_size=config.step_size * eps / config.eps
        ))
        for (label, (rule, settings)), seed, eps in product(methods.items(), seeds, epsilons)
    ]  # fmt: skip


def sweep(
    zoo: Zoo,
    train: FaceBatch,
    test: FaceBatch,
    methods: Methods,
    config: PerturbationConfig,
    seeds: Iterable[int] = (0,),
    epsilons: Iterable[float] | None = None,
    address: str | None = None,
    workers: int = 1,
) -> pd.DataFrame:
    """Optimise and judge every combination, as tasks of their own.

    Parameters
    ----------
    methods : mapping of label to (rule, settings)
        As in `study.compare`.
    epsilons : iterable of float, optional
        Bounds in [-1, 1] units; the config's alone by default.
    address : str, optional
        Of a Dask scheduler, e.g. "tcp://head:8786", whose workers have this package and see the
        same `AEF_HOME`. Without it: `workers` tasks at a time in this process.
    workers : int
        More than one pays with more than one GPU or many cores: PyTorch uses them by itself.

    Returns
    -------
    DataFrame
        Evaluations in the order of `tasks`, with columns method, seed and eps in front.

    Raises
    ------
    ValueError
        A face is in both sets.
    """
    refuse_overlap(train, test)
    todo = tasks(methods, config, seeds, (config.eps,) if epsilons is None else epsilons)
    with connected(address, workers) as client:
        shared = client.scatter([dict(zoo), train, test], broadcast=True, hash=False)
        futures = [client.submit(Task.run, task, *shared, pure=False) for task in todo]
        table = pd.concat(client.gather(futures), ignore_index=True)
    front = ["method", "seed", "eps"]
    return table[[*front, *(c for c in table.columns if c not in front)]]


@contextmanager
def connected(address: str | None, workers: int = 1) -> Iterator[Client]:
    """A client of the cluster at an address, or of threads in this process."""
    if address:
        with Client(address) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=workers, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
