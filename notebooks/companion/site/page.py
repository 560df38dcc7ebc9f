"""From runs and pictures to one file of HTML that needs nothing else."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd

from aef_core.atomic import write_bytes
from aef_core.plots import MODEL_COLOURS, OTHER_COLOURS
from aef_core.weighting import RULES
from companion import toy
from companion.site.gather import Show
from companion.site.pictures import packed

SCRIPTS = ("rules.js", "toy.js", "charts.js", "explorer.js", "viewer.js")
PLAYERS = ("A", "B", "C", "D")  # of the toy: nobody should take them for generators
DIGITS = 7  # of a recorded number


def explorer_page(show: Show, out: Path, n_faces: int = 8) -> int:
    """Write the explorer; returns its size in bytes.

    Parameters
    ----------
    show : Show
    out : Path
        The file, its folder is made.
    n_faces : int
        Faces in the before/after viewer.

    Raises
    ------
    BadInput
        The pictures of so many faces do not fit.
    """
    text = source("explorer.html")
    for mark, content in {
        "/* style */": source("explorer.css"),
        "/* data */": embedded(page_data(show, n_faces)),
        "/* scripts */": "\n".join(source(name) for name in SCRIPTS),
    }.items():
        text = text.replace(mark, content)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, text.encode())
    return out.stat().st_size


def source(name: str) -> str:
    """A file that lies beside this module."""
    return (files("companion.site") / name).read_text(encoding="utf-8")


def page_data(show: Show, n_faces: int) -> dict[str, Any]:
    """All that the scripts are told: the game, recorded runs, rules, colours, pictures."""
    return {
        "world": world(PLAYERS),
        "traces": {label: trace(history) for label, history in show.histories.items()},
        "rules": {name: about(rule.__doc__ or "") for name, rule in RULES.items()},
        "colours": colours(show),
        "viewer": packed(show, n_faces),
    }


def about(docstring: str) -> dict[str, str]:
    """What a rule's docstring says first, `line`, and its `formula`'s first sentence, if any."""
    found = re.search(r"Formula: (.+?)(?:\.\s|\.$|\n\n)", docstring, re.DOTALL)
    formula = " ".join(found[1].replace("`", "").split()) if found else ""
    return {"line": docstring.split("\n")[0], "formula": formula}


def world(players: tuple[str, ...]) -> dict[str, Any]:
    """The toy game's constants and random numbers, for `toy.js`."""
    game = toy.Game(players)
    games = [replace(game, players=players[:k]) for k in range(1, len(players) + 1)]
    return {
        "players": players,
        "limit": toy.LIMIT, "offset": toy.OFFSET, "momentum": toy.MOMENTUM, "slope": toy.SLOPE,
        "steps": game.steps, "step_size": game.step_size, "eps": game.eps,
        "imbalance": game.imbalance, "cosine": game.cosine,
        "start": game.start().tolist(),
        "frames": {len(g.players): g.frame().tolist() for g in games},
    }  # fmt: skip


def trace(history: pd.DataFrame) -> dict[str, Any]:
    """A run's history as lists, [steps][K], with seven digits.

    Parameters
    ----------
    history : DataFrame
        As `Run.history`.
    """
    names = list(history["model"].unique())
    table = history.pivot(index="step", columns="model")
    columns = {"strength": "strength", "size": "grad_l1", "output": "output_mse"}
    return {"names": names} | {
        key: [[float(f"{x:.{DIGITS}g}") for x in row] for row in table[column][names].to_numpy()]
        for key, column in columns.items()
    }


def colours(show: Show) -> dict[str, str]:
    """A colour for each generator and each player of the toy."""
    spare = cycle(OTHER_COLOURS)
    generators = {name: MODEL_COLOURS.get(name) or next(spare) for name in show.zoo}
    return generators | dict(zip(PLAYERS, MODEL_COLOURS.values(), strict=False))


def embedded(data: dict[str, Any]) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
