"""The command of the kept perturbations: make them, judge them on other faces, list them."""

from pathlib import Path
from typing import Annotated

import typer

from aef_core.cli.shared import Scheduler
from aef_core.errors import BadInput
from companion.cli import examples

app = typer.Typer()


@app.command(
    epilog=examples(
        "kept",
        "kept --make",
        "kept --make --steps 40 --faces 32 --seeds 1",
        "kept --judge FOLDER",
        "kept --judge FOLDER --faces 48",
    )
)
def kept(
    make: Annotated[
        bool, typer.Option("--make", help="optimise every method at its published schedule")
    ] = False,
    steps: Annotated[
        int, typer.Option(min=1, help="with --make: all schedules reduced to this share of 480")
    ] = 480,
    seeds: Annotated[int, typer.Option(min=1, help="with --make: at most so many each")] = 3,
    judge: Annotated[
        Path | None,
        typer.Option(
            help="folder with the archives of CelebA and LFW: judge on people that no generator "
            "has seen, keep the numbers"
        ),
    ] = None,
    faces: Annotated[
        int | None, typer.Option(min=1, help="to optimise on (128), or to judge on (8 a set)")
    ] = None,
    scheduler: Scheduler = None,
) -> None:
    """Kept perturbations: made once, at published schedules; without an option they are listed.

    `--make` writes to the package; stopped, the same call goes on where it was. `--judge` makes
    forward passes only. Both run on `AEF_DEVICE`, a GPU if there is one.
    """
    from aef_core.models.zoo import load_zoo
    from companion import kept as k
    from companion.kept.photographs import FACES as TO_JUDGE
    from companion.kept.photographs import write_judged
    from companion.kept.published import FACES

    if make and judge:
        raise BadInput("--make and --judge are two calls: make first")
    zoo = load_zoo()
    if make:
        from aef_core.faces import load_faces
        from companion.bench.precision import fastest

        train = load_faces("embedded", "train", n=faces or FACES)
        execution = fastest(zoo, train)
        print(f"fastest here: {execution.precision}, channels last {execution.channels_last}")
        runs = k.make(zoo, train, steps, seeds, execution=execution, scheduler=scheduler)
    else:
        runs = k.load(zoo)
    if judge:
        print(f"numbers in {write_judged(runs, zoo, judge, faces or TO_JUDGE)}")
        return
    print(k.schedule_words(runs))
    print(k.listing(runs).to_string())
