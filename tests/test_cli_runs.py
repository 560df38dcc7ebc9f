"""Commands that make, judge and use runs, on tiny generators."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from aef_core.__main__ import app, main
from aef_core.cli import shared
from aef_core.cli.shared import parse_settings
from aef_core.config import home
from aef_core.errors import AEFError, BadInput
from aef_core.faces import photos
from aef_core.jobs import Job, map_runs
from aef_core.metrics.photos import COPIES
from aef_core.models.zoo import EMBEDDED, checkpoints
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.store import run_named
from aef_core.runs import optimize
from companion.__main__ import app as tour_app
from companion.reproduce import LANES, tour

from .conftest import make_faces, tiny_zoo

APPS = {"aef_core": app, "companion": tour_app}


def commands_of(package: str) -> dict:
    return typer.main.get_command(APPS[package]).commands


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded zoo is large."""
    monkeypatch.setattr(shared, "open_zoo", lambda official: tiny_zoo())


def call(*arguments: str) -> Result:
    """A command of the library, else of the tour."""
    package = next(p for p in APPS if arguments[0] in commands_of(p))
    return CliRunner().invoke(APPS[package], list(arguments))


def only_run() -> Path:
    (file,) = home().glob("*/run.json")
    return file.parent


@pytest.mark.parametrize(("package", "name"), [(p, n) for p in APPS for n in commands_of(p)])
def test_every_command_explains_itself_with_examples(package: str, name: str) -> None:
    assert commands_of(package)[name].help
    shown = CliRunner().invoke(APPS[package], [name, "--help"])
    assert shown.exit_code == 0
    assert f"python -m {package} {name}" in shown.stdout


def test_a_run_is_made_found_again_and_judged() -> None:
    arguments = ("optimize", "--set", "tau=0.01", "--eps", "0.03", "--steps", "2", "--seed", "1",
                 "--step-size", "0.002")  # fmt: skip
    first, again = call(*arguments), call(*arguments)
    assert first.exit_code == again.exit_code == 0, first.output
    run = run_named(str(only_run()))
    assert str(only_run()) in first.stdout
    assert run.config["settings"]["tau"] == 0.01
    assert (run.config["loop"]["eps"], run.config["loop"]["step_size"]) == (0.03, 0.002)
    assert {run.config["loop"]["steps"], run.config["loop"]["seed"]} == {2, 1}
    table = call("evaluate", only_run().name[:6], "--n", "2")
    assert table.exit_code == 0, table.output
    for model in tiny_zoo():
        assert model in first.stdout
        assert model in table.stdout
    assert "spread" in table.stdout
    assert "edit survival" in table.stdout
    assert "unaffected  changed  undone" in table.stdout
    assert f"evaluate {only_run().name}\n" in first.stdout, "can be pasted"


@pytest.mark.parametrize("method", ["cmua", "random", "ohem"])
def test_any_method_or_bare_rule_can_be_asked_for(method: str) -> None:
    chosen = {"cmua": "inner=1", "ohem": "keep=2"}.get(method)
    more = ("--set", chosen) if chosen else ()
    done = call("optimize", "--method", method, "--steps", "1", "--faces", "4", *more)
    assert done.exit_code == 0, done.output
    run = run_named(str(only_run()))
    assert run.config["method"] == method
    if chosen:
        name, value = chosen.split("=")
        assert run.config["settings"][name] == int(value)
    assert f"{method}, 1 steps" in done.stdout


def test_mistakes_name_the_cure() -> None:
    with pytest.raises(ValueError, match="--set wants NAME=VALUE, got 'tau'"):
        parse_settings(["tau"])
    with pytest.raises(FileNotFoundError, match=r"no run 'zz' in .*: make one with optimize"):
        run_named("zz")
    word = ("--set", "tau=abc")
    foreign = [("--set", f"{name}=x") for name in ("recipe", "loop", "keep", "on_step")]
    for wrong in foreign:
        done = call("optimize", *wrong)
        assert "method 'aef' has no setting" in str(done.exception)
        assert "\n" not in str(done.exception)
    for wrong in (word, ("--set", "speed=3"), ("--eps", "-1"), ("--method", "magic")):
        done = call("optimize", *wrong)
        assert isinstance(done.exception, ValueError), done.output
    assert not list(home().glob("*"))


def test_settings_are_read_as_numbers_where_they_are() -> None:
    read = parse_settings(["tau=1e-2", "k=3", "top=True", "name=x"])
    assert read == {"tau": 0.01, "k": 3, "top": True, "name": "x"}


def test_an_ambiguous_run_is_refused() -> None:
    for name in ("abc1", "abc2"):
        (home() / name).mkdir(parents=True)
        (home() / name / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="'abc' fits 2 runs"):
        run_named("abc")


def test_photos_are_protected_with_a_run_and_bad_ones_reported(tmp_path, monkeypatch) -> None:
    optimize(tiny_zoo(), make_faces(4), "aef", PerturbationConfig(steps=1), progress=False)
    monkeypatch.setattr(photos, "face_squares", lambda pixels: [(5, 5, 55, 55)])
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "me.png")
    arguments = [str(tmp_path / "none.png"), str(tmp_path / "me.png"), "--check", "1"]
    done = call("protect", *arguments, "--run", only_run().name, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "none.png: no such file: name a photo" in done.stderr
    assert "me.png: face of 50 px (PSNR" in done.stdout
    assert "Not covered" in done.stdout
    table = done.stdout[done.stdout.index("what is left, on 1 of the photos:") :]
    assert all(word in table for word in (*tiny_zoo(), *COPIES))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["me-protected.png"]


def test_a_photo_that_is_not_there_costs_no_optimisation(monkeypatch) -> None:
    def optimised(*_: object) -> None:
        raise AssertionError("minutes of work for nothing")

    monkeypatch.setattr(shared, "make_run", optimised)
    done = call("protect", "none.png")
    assert done.exit_code == 1
    assert done.stderr == "error: none.png: no such file: name a photo\n"


def test_nothing_protected_is_not_called_protected(tmp_path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "me.png")
    arguments = ("--steps", "1", "--out", str(tmp_path / "out"))
    done = call("protect", str(tmp_path / "me.png"), *arguments)
    assert done.exit_code == 1
    assert run_named(str(only_run())).config["loop"]["steps"] == 1
    assert "Made against" not in done.stdout


def test_a_run_of_another_size_or_kind_is_refused() -> None:
    other = PerturbationConfig(steps=1, universal=False)
    optimize(tiny_zoo(), make_faces(4), "aef", other, progress=False)
    done = call("evaluate", only_run().name)
    assert "one perturbation per image" in str(done.exception)


def test_the_ledger_is_the_last_notebook_of_all() -> None:
    numbers = {p.name[:2] for p in tour(True)} - {p.name[:2] for p in tour()}
    assert numbers - {number for lane in LANES for number in lane} == {"12"}


def test_the_tour_ends_where_the_extensions_begin(tmp_path: Path) -> None:
    for name in ("00_a", "05_f", "06_g", "10_k", "draft"):
        (tmp_path / f"{name}.ipynb").touch()
    assert [p.stem for p in tour(folder=tmp_path)] == ["00_a", "05_f"]
    assert [p.stem for p in tour(True, tmp_path)] == ["00_a", "05_f", "06_g", "10_k"]


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (("optimize", "--steps", "0"), "Invalid value for '--steps'"),
        (("optimize", "--faces", "0"), "--faces"),
        (("evaluate", "abc", "--faces", "0"), "--faces"),
        (("kept", "--seeds", "0"), "Invalid value for '--seeds'"),
        (("kept", "--steps", "0"), "Invalid value for '--steps'"),
        (("optimize", "--eps", "1e-320"), "eps=1e-320 is zero in float32"),
        (("optimize", "--set", "tau=1e-320"), "tau=1e-320 is zero in float32"),
        (("optimize", "--method", "mgda", "--set", "every=1.5"), "every"),
        (("optimize", "--set", "tau=1", "--set", "tau=2"), "--set tau is given twice"),
        (("optimize", "--root", "x"), "--root is not for embedded faces"),
        (("evaluate", ""), "the name of the run is empty"),
        (("protect", "me.png", "--run", ""), "the name of the run is empty"),
    ],
)
def test_nothing_given_is_ignored(arguments: tuple[str, ...], culprit: str, tmp_path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "me.png")
    done = call(*(str(tmp_path / a) if a == "me.png" else a for a in arguments))
    assert done.exit_code != 0
    told = str(done.exception) if isinstance(done.exception, AEFError) else done.stderr
    assert culprit in re.sub(r"[│\s]+", " ", told)
    assert not list(home().glob("*")), "nothing was computed"


def test_bars_are_wiped_before_an_error_is_told(capsys: pytest.CaptureFixture) -> None:
    def on_step(state: object) -> None:
        raise BadInput("odd")

    few = [Job(config=PerturbationConfig(steps=2, batch=4, seed=seed)) for seed in (0, 1)]
    with pytest.raises(BadInput):
        map_runs(tiny_zoo(), make_faces(4), few, on_step=on_step)
    shown = capsys.readouterr().err
    assert "runs:" in shown and "aef:" in shown
    assert shown.endswith("\r")
    assert not shown.rstrip("\r").split("\r")[-1].strip(), "a bar stands where the error will be"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (("optimize", "--faces", "0"), "error: Invalid value for '--faces' / '--n': "),
        (("optimize", "--steps", "0"), "error: Invalid value for '--steps': "),
        (("optimize", "--eps", "x"), "error: Invalid value for '--eps': "),
        (("optimize", "--frob"), "error: No such option: --frob"),
        (("evaluate",), "error: Missing argument 'runs'"),
        (("optimise",), "error: No such command 'optimise'"),
        (("protect", "a\nb.jpg", "--strength", "9"), "error: strength must be positive"),
        (("evaluate", "a\nb"), r"error: no run 'a\nb'"),
    ],
)
def test_typers_refusals_are_one_plain_line(
    line: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["aef_core", *line])
    with pytest.raises(SystemExit) as ended:
        main()
    assert str(ended.value).startswith(told)
    assert len(str(ended.value).splitlines()) == 1


def test_a_run_named_twice_is_not_two_runs() -> None:
    optimize(tiny_zoo(), make_faces(4), "aef", PerturbationConfig(steps=1), progress=False)
    names = only_run().name, only_run().name[:6]
    once, twice = call("evaluate", names[0], "--n", "2"), call("evaluate", *names, "--n", "2")
    assert once.exit_code == 0, once.output
    assert once.stdout == twice.stdout


def test_every_combination_is_a_run() -> None:
    few = ("--steps", "1", "--faces", "2")
    done = call("optimize", "--method", "aef", "--method", "uniform", "--seed", "0", "--seed", "1",
                *few)  # fmt: skip
    assert done.exit_code == 0, done.output
    configs = [run_named(p.parent.name).config for p in sorted(home().glob("*/run.json"))]
    made = {(c["method"], c["loop"]["seed"]) for c in configs}
    assert made == {("aef", 0), ("aef", 1), ("uniform", 0), ("uniform", 1)}
    line = done.stdout.strip().splitlines()[-1]
    assert all(p.parent.name in line for p in home().glob("*/run.json")), "can be pasted"


def test_the_embedded_generators_are_checked_one_by_one() -> None:
    done = call("zoo")
    assert done.exit_code == 0, done.output
    files = {name: EMBEDDED / entry.file for name, entry in checkpoints(EMBEDDED).items()}
    wanted = [f"{name}: {path} is complete" for name, path in files.items()]
    assert done.stdout.splitlines() == wanted
