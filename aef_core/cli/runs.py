"""Commands for runs: optimise a perturbation, judge finished ones."""

from itertools import product
from typing import Annotated

import typer

from aef_core.cli import examples, shared

app = typer.Typer()
LATE = {"strength": "S late", "weight": "weight", "grad_l1": "mean |gradient|"}


@app.command(
    epilog=examples(
        "optimize --method aef --set tau=0.01",
        "optimize --method grad-norm --eps 0.03 --seed 1",
        "optimize --method aef --method found --seed 0 --seed 1 --scheduler tcp://head:8786",
        "optimize --steps 480 --step-size 1e-3 --faces 128 --data celeba --root ~/celeba",
    )
)
def optimize(
    method: shared.Methods = ("aef",),
    settings: shared.Settings = None,
    eps: Annotated[list[float], typer.Option(help="bound, images in [-1, 1]")] = (0.05,),
    steps: shared.Steps = shared.STEPS,
    step_size: Annotated[float, typer.Option(help="in [-1, 1] units")] = shared.STEP_SIZE,
    seed: Annotated[list[int], typer.Option(help="seed of start, edits and batches")] = (0,),
    data: shared.Data = "embedded",
    root: shared.Root = None,
    n: shared.Count = shared.FACES,
    official: shared.Official = None,
    scheduler: shared.Scheduler = None,
) -> None:
    """Optimise a perturbation against the whole zoo, and keep it as a run.

    Repeat --method, --eps or --seed, and every combination becomes a run. Stop with Ctrl-C: the
    same command goes on from the last saved step (every 20th is), and finds finished runs again. A
    method whose steps cost more than one forward and backward pass makes fewer of them.
    """
    from aef_core.jobs import Job, map_runs
    from aef_core.metrics.statistics import late_means
    from aef_core.perturbation import PerturbationConfig

    zoo, chosen = shared.open_zoo(official), shared.parse_settings(settings)
    jobs = []
    for name, bound, number in product(method, eps, seed):
        config = PerturbationConfig(eps=bound, steps=steps, step_size=step_size, seed=number)
        jobs.append(Job(name, chosen, config))
    faces = shared.open_faces(data, "train", n, root, zoo)
    runs, _ = map_runs(zoo, faces, jobs, scheduler=scheduler)
    for run in runs:
        late = late_means(run.history)[list(LATE)].rename(columns=LATE)
        late.insert(0, "S first", run.history.groupby("model", sort=False)["strength"].first())
        steps = run.config["loop"]["steps"]
        print(f"{run.config['method']}, {steps} steps, {run.seconds:.0f} s: {run.path}")
        print(late.to_string(float_format="{:.3g}".format))
    print("S: interruption strength on the faces optimised on; weight: mean of the last quarter")
    names = " ".join([run.path.name for run in runs] + [f"--official {official}"] * bool(official))
    print(f"judge on unseen faces: python -m aef_core evaluate {names}")


@app.command(
    epilog=examples(
        "evaluate 3fa9c1d2e4b5",
        "evaluate 3fa9c1d2e4b5 77ab01c2d3e4 --data lfw --root ~/lfw.zip --faces 64",
    )
)
def evaluate(
    runs: Annotated[list[str], typer.Argument(help="run folders, hashes or their first digits")],
    data: shared.Data = "embedded",
    root: shared.Root = None,
    n: shared.Count = 24,
    official: shared.Official = None,
) -> None:
    """Judge runs on faces they were not optimised on: L2_mask, SR_mask and whether edits survive.

    Values with 95 % intervals, then how many edits are unaffected, changed and undone.
    """
    import pandas as pd

    from aef_core.metrics import Evaluator, statistics
    from aef_core.metrics.evaluation import evaluate_run
    from aef_core.perturbation.store import run_named

    chosen = {run.path.name: run for run in map(run_named, runs)}.values()  # each run once
    zoo = shared.open_zoo(official)
    for run in chosen:
        shared.check_run(run, zoo)
    evaluator = Evaluator(zoo, shared.open_faces(data, "test", n, root, zoo))
    tables = []
    for run in chosen:
        labels = {"method": f"{run.path.name} {run.config['method']}"}
        seed = run.config["loop"]["seed"]
        tables.append(evaluate_run(run, evaluator).assign(**labels, seed=seed))
    table = pd.concat(tables, ignore_index=True)
    by = ["method", "model"]
    means, shares = (statistics.bootstrap_means(table, by, c) for c in ("l2_mask", "interrupted"))
    found = {"L2_mask": statistics.interval(means)}
    found["SR_mask"] = statistics.interval(shares, statistics.ZERO_TO_ONE)
    edits = statistics.edit_survival(table, by)
    ends = list(found["L2_mask"])  # value, low and high
    print(f"{n} {data} faces, with 95 % intervals")
    print(pd.concat(found | {"edit survival": edits[ends]}, axis=1).round(4).to_string())
    counts = edits.drop(columns=ends).to_string()
    print(f"edits that worked on unprotected photos, and those that did not count:\n{counts}")
    visible = table.groupby("method", sort=False)[["psnr", "ssim"]].mean()
    print(statistics.method_balance(table).join(visible).round(4).to_string())
    print("rows above: balance of L2_mask over generators, and visibility (PSNR in dB)")
