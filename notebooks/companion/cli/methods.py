"""The command that measures every method of the field: the main table of notebook 06."""

from pathlib import Path
from typing import Annotated

import typer

from aef_core.cli.shared import (
    Data,
    Official,
    ProfileName,
    Root,
    Scheduler,
    Steps,
    open_faces,
    open_zoo,
)
from aef_core.errors import BadInput
from companion.cli import examples

app = typer.Typer()


@app.command(
    epilog=examples(
        "methods --profile smoke",
        "methods --data celeba --root celeba.zip --faces 100 --steps 40",
        "methods --data lfw --root lfw.zip --train-data celeba --train-root celeba.zip --write",
    )
)
def methods(
    data: Data = "embedded",
    root: Root = None,
    train_data: Annotated[
        str | None, typer.Option(help="optimise on faces of another source; the same by default")
    ] = None,
    train_root: Annotated[Path | None, typer.Option(help="where that source lies")] = None,
    faces: Annotated[int | None, typer.Option(min=1, help="faces to judge on")] = None,
    train: Annotated[int | None, typer.Option(min=1, help="faces to optimise on")] = None,
    steps: Steps = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="how many seeds")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="only this method of the table; may be repeated")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV of the numbers; by default one among the runs")
    ] = None,
    write: Annotated[
        bool, typer.Option(help="keep them in the package: notebooks 06 and 12 show these")
    ] = False,
    official: Official = None,
    profile: ProfileName = None,
    scheduler: Scheduler = None,
) -> None:
    """Measure every method against every generator and keep the numbers as CSV, without images.

    Methods spend equal computation; a time estimate is printed first. Finished runs are found
    again, so a call that was stopped goes on where it was.
    """
    from aef_core.config import get_profile, home
    from aef_core.metrics import Evaluator
    from aef_core.models.base import fingerprint
    from aef_core.perturbation import PerturbationConfig
    from companion.studies import main_table as mt
    from companion.studies.planning import minutes, planned_steps, seconds_per_step

    p, zoo = get_profile(profile), open_zoo(official)
    entries = choose(only, mt.ENTRIES)
    seeds = max(1, len(p.seeds)) if seeds is None else seeds
    source = data if train_data is None else train_data
    n, place = train or p.n_train, root if train_root is None else train_root
    optimised = open_faces(source, "train", n, place, zoo)
    judged = Evaluator(zoo, open_faces(data, "test", faces or p.n_test, root, zoo))
    config = PerturbationConfig(steps=steps or mt.BUDGETS[p.name], step_size=p.step_size)
    plan = planned_steps(entries, config, len(optimised), judged, seeds)
    seconds = seconds_per_step(zoo, optimised, config)
    print(f"{plan.sum():.0f} plain steps of {seconds:.2f} s: about "
          f"{minutes(plan.sum() * seconds)}", flush=True)  # fmt: skip
    runs, table = mt.main_table(zoo, optimised, judged, config, range(seeds), entries, scheduler)
    numbers = mt.summary(table, runs)
    shown = mt.results_path(f"{data}-official" if official else data)
    path = out or (shown if write else home() / shown.name)
    weights = ", ".join(f"{name} {fingerprint(model)}" for name, model in zoo.items())
    mt.save_results(
        numbers, path, judged_on=f"{data} test, {len(judged.faces)} faces",
        optimised_on=f"{source} train, {len(optimised)} faces", steps=config.steps,
        step_size=config.step_size, eps=config.eps, seeds=seeds, profile=p.name, zoo=weights,
        excluded=f"{table['excluded'].mean():.1%} of pairs have an empty mask",
    )  # fmt: skip
    print(mt.view(numbers).to_string())
    print(f"numbers in {path}")


def choose(only: list[str] | None, entries: dict) -> dict:
    """The entries asked for, all by default, and the floor they are measured by.

    Raises
    ------
    ValueError
        One that the table does not have.
    """
    for name in only or ():
        if name not in entries:
            raise BadInput(f"the table has no method {name!r}; it has: {', '.join(entries)}")
    return {k: v for k, v in entries.items() if not only or k in (*only, "random")}
