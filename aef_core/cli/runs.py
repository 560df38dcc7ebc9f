"""Commands for runs: optimise a perturbation, judge finished ones."""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from aef_core.cli import examples
from aef_core.cli.shared import (
    Count,
    Data,
    Method,
    Official,
    ProfileName,
    Root,
    Settings,
    ZooName,
    check_run,
    find_run,
    image_size,
    loop_config,
    open_zoo,
    parse_settings,
)

if TYPE_CHECKING:
    import pandas as pd

    from aef_core.perturbation import State
    from aef_core.perturbation.runs import Run

app = typer.Typer()


@app.command(
    epilog=examples(
        "optimize --method aef --set tau=0.01",
        "optimize --method grad-norm --eps 0.03 --seed 1",
        "optimize --profile paper --data celeba --root ~/celeba",
    )
)
def optimize(
    method: Method = "aef",
    settings: Settings = None,
    eps: Annotated[float | None, typer.Option(help="bound, images being in [-1, 1]")] = None,
    steps: Annotated[int | None, typer.Option(help="steps of the loop")] = None,
    seed: Annotated[int, typer.Option(help="seed of start, edits and batches")] = 0,
    profile: ProfileName = None,
    data: Data = "embedded",
    root: Root = None,
    n: Count = None,
    zoo_name: ZooName = "celeba64",
    official: Official = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="memory and speed, NAME=VALUE: micro_batch, cache, precision, channels_last, "
            "conv_search, compile",
        ),
    ] = None,
) -> None:
    """Optimise one perturbation against the whole zoo, and keep it as a run.

    Stop it with Ctrl-C: the same command goes on where it stopped, and finds a finished run again.
    Started by torchrun, the processes share every batch: `torchrun --nproc-per-node 2 -m aef_core
    optimize ...`.
    """
    from aef_core.faces import load_faces
    from aef_core.perturbation.execution import Execution
    from aef_core.perturbation.runs import Stopped
    from aef_core.perturbation.runs import optimize as optimise

    size, config = loop_config(profile, eps=eps, steps=steps, seed=seed)
    chosen = parse_settings(settings)
    execution = Execution.of(parse_settings(machine, "--with")) if machine else None
    zoo = open_zoo(official, zoo_name)
    faces = load_faces(data, "train", n or size, root, image_size(zoo))
    try:
        run = optimise(zoo, faces, method, config, on_step=stop_on_interrupt(),
                       execution=execution, **chosen)  # fmt: skip
    except Stopped as stopped:
        print(stopped)
        raise typer.Exit(130) from None
    print(f"{method}, {config.steps} steps, {run.seconds:.0f} s: {run.path}")
    print(summary(run).to_string(float_format="{:.3g}".format))
    print("S: interruption strength on the faces optimised on; weight: mean of the last quarter")
    same = f" --official {official}" if official else f" --zoo {zoo_name}"
    print(f"judge it on unseen faces: python -m aef_core evaluate {run.path.name}{same}")


@app.command(
    epilog=examples(
        "evaluate 3fa9c1d2e4b5",
        "evaluate 3fa9c1d2e4b5 77ab01c2d3e4 --data lfw --root ~/lfw.zip --faces 64",
    )
)
def evaluate(
    runs: Annotated[list[str], typer.Argument(help="run folders, hashes or their first digits")],
    profile: ProfileName = None,
    data: Data = "embedded",
    root: Root = None,
    n: Count = None,
    zoo_name: ZooName = "celeba64",
    official: Official = None,
    detect: Annotated[
        bool, typer.Option("--detect", help="also look for faces in the forgeries; minutes")
    ] = False,
) -> None:
    """Judge runs on faces they were not optimised on: L2_mask, SR_mask and whether edits survive.

    With 95 % intervals; then, in words, how many edits still work.
    """
    import pandas as pd

    from aef_core.config import get_profile
    from aef_core.faces import load_faces
    from aef_core.metrics import Evaluator
    from aef_core.metrics.statistics import method_balance
    from aef_core.metrics.survival import sentences, total
    from aef_core.perturbation.runs import evaluate_run

    chosen = [find_run(name) for name in runs]
    zoo = open_zoo(official, zoo_name)
    for run in chosen:
        check_run(run, zoo)
    n = n or get_profile(profile).n_test
    evaluator = Evaluator(zoo, load_faces(data, "test", n, root, image_size(zoo)))
    labels = [f"{run.path.name} {run.config['method']}" for run in chosen]
    table = pd.concat(
        [
            evaluate_run(run, evaluator, detect=detect).assign(
                method=label, seed=run.config["loop"]["seed"]
            )
            for label, run in zip(labels, chosen, strict=True)
        ],
        ignore_index=True,
    )
    print(f"{n} {data} faces, mean [95 % interval over images]")
    print(judged(table).to_string(index=False))
    visible = table.groupby("method", sort=False)[["psnr", "ssim"]].mean()
    print(method_balance(table).join(visible).round(4).to_string())
    print("rows above: balance of L2_mask over generators, and visibility (PSNR in dB)")
    for label, part in table.groupby("method", sort=False):
        print(f"\n{label}: {total(part)}")
        print("\n".join(f"  {sentence}" for sentence in sentences(part)))


def stop_on_interrupt() -> "Callable[[State], None]":
    """For `optimize`'s `on_step`: the first Ctrl-C stops after the step, the second at once."""
    from aef_core.perturbation.runs import Stopped

    asked = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    signal.signal(signal.SIGINT, ask)

    def on_step(state: "State") -> None:
        if asked:
            raise Stopped(f"stopped after step {state.step}; the same command goes on from there")

    return on_step


def summary(run: "Run") -> "pd.DataFrame":
    """Per generator: S at the first step and late, late weight and gradient of a run."""
    import pandas as pd

    from aef_core.metrics.equilibrium import late_means

    first = run.history.groupby("model", sort=False)["strength"].first()
    late = late_means(run.history)
    return pd.DataFrame(
        {
            "S first": first,
            "S late": late["strength"],
            "weight": late["weight"],
            "mean |gradient|": late["grad_l1"],
        }
    )


def judged(table: "pd.DataFrame") -> "pd.DataFrame":
    """L2_mask, SR_mask, edit survival and counts of pairs, per run and generator.

    Returns
    -------
    DataFrame of text and counts; `broken`, where faces were looked for, as a share.
    """
    import pandas as pd

    from aef_core.metrics.statistics import bootstrap_means, interval
    from aef_core.metrics.survival import OUTCOMES, edit_survival

    kept = table.assign(interrupted=table["interrupted"].astype(float))
    columns = {}
    for name, column in {"L2_mask": "l2_mask", "SR_mask": "interrupted"}.items():
        found = interval(bootstrap_means(kept, ["method", "model"], column))
        columns[name] = [
            f"{r.value:.4f} [{r.low:.4f}, {r.high:.4f}]" for r in found.itertuples(index=False)
        ]
    counts = table.groupby(["method", "model"], sort=False)["excluded"].agg(["size", "sum"])
    counts = counts.loc[list(found.index)]
    columns |= {"pairs": counts["size"] - counts["sum"], "excluded": counts["sum"]}
    edits = edit_survival(table, ("method", "model")).loc[list(found.index)]
    columns["edit survival"] = [
        f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in edits.itertuples()
    ]
    columns |= {name: edits[name] for name in (*OUTCOMES, "broken") if name in edits}
    view = pd.DataFrame(columns, index=found.index).rename_axis(["run", "model"])
    return view.reset_index()
