"""What several commands share: their options, and the way from options to zoo, faces and runs."""

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aef_core.errors import BadInput

if TYPE_CHECKING:
    from aef_core.faces import FaceBatch
    from aef_core.perturbation.objective import Zoo
    from aef_core.perturbation.store import Run

STEPS, STEP_SIZE, FACES = 24, 5e-3, 32  # minutes on two cores; as published: 480, 1e-3, 128

_METHOD = typer.Option("--method", "--rule", help="aef, cmua, found, ..., or a bare weighting rule")
Method = Annotated[str, _METHOD]
Methods = Annotated[list[str], _METHOD]
_SETTING = "a setting of the method, NAME=VALUE; may be repeated"
Settings = Annotated[list[str] | None, typer.Option("--set", help=_SETTING)]
Data = Annotated[str, typer.Option(help="embedded, celeba, lfw, ffpp or folder")]
Root = Annotated[Path | None, typer.Option(help="folder or zip of the faces, unless embedded")]
Count = Annotated[int, typer.Option("--faces", "--n", min=1, help="how many faces")]
Steps = Annotated[int, typer.Option(min=1, help="computation, in plain steps")]
_SCHEDULER = "address of a Dask scheduler whose workers make the runs; AEF_SCHEDULER"
Scheduler = Annotated[str | None, typer.Option(help=_SCHEDULER)]
_OFFICIAL = "folder of official checkpoints, instead of the embedded zoo"
Official = Annotated[Path | None, typer.Option(help=_OFFICIAL)]


def parse_settings(pairs: list[str] | None) -> dict[str, Any]:
    """`["tau=0.01"]` to `{"tau": 0.01}`; numbers and True/False are read as such."""
    settings = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise BadInput(f"--set wants NAME=VALUE, got {pair!r}, e.g. --set tau=0.01")
        if name in settings:
            raise BadInput(f"--set {name} is given twice: once is enough")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


def make_run(zoo: "Zoo", method: str, settings: list[str] | None, steps: int) -> "Run":
    """The run of a method on the embedded faces, found or optimised now."""
    from aef_core.perturbation import PerturbationConfig
    from aef_core.runs import optimize

    config = PerturbationConfig(steps=steps, step_size=STEP_SIZE)
    faces = open_faces("embedded", "train", FACES, None, zoo)
    return optimize(zoo, faces, method, config, settings=parse_settings(settings))


def open_faces(data: str, split: str, n: int, root: Path | None, zoo: "Zoo") -> "FaceBatch":
    """Faces of the zoo's image size; a root that would not be read is refused."""
    from aef_core.faces import load_faces

    if data == "embedded" and root is not None:
        raise BadInput("--root is not for embedded faces: add --data celeba, lfw, ffpp or folder")
    return load_faces(data, split, n, root, next(iter(zoo.values())).image_size)


def open_zoo(official: Path | None) -> "Zoo":
    """The embedded generators, or the official checkpoints under a folder."""
    from aef_core.models.zoo import load_zoo

    return load_zoo("official", root=official) if official else load_zoo()


def check_run(run: "Run", zoo: "Zoo") -> None:
    """Refuse a run that cannot be laid over other faces or does not fit the zoo's image size."""
    (count, *shape), side = run.delta.shape, next(iter(zoo.values())).image_size
    if count != 1:
        raise BadInput(f"run {run.path.name} holds one perturbation per image, none for all")
    if "budget" in run.config:
        budget = run.config["budget"]["name"]
        raise BadInput(f"run {run.path.name} has the budget {budget!r}: judge it in a notebook")
    if shape != [3, side, side]:
        raise BadInput(
            f"run {run.path.name} holds a perturbation of shape {tuple(shape)}, this zoo needs "
            f"{(3, side, side)}: judge it on the zoo it was made for, see --official of `evaluate`"
        )
