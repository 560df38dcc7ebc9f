"""The explorer's JavaScript computes what the Python rules and the Python toy compute, to 1e-6.

Runs in Node or, without it, in headless Chromium; skipped where there is neither.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from aef_core.weighting import RULES, Feedback, make_rule
from companion.site.page import PLAYERS, source, world
from companion.toy import Game

from .browser import browser_page
from .conftest import DATA

GRAMIAN = {"mgda", "pcgrad", "cagrad", "upgrad"}  # need inner products of gradients
TOLERANCE = 1e-6
SCRIPTS = source("rules.js") + source("toy.js").replace('"use strict";', "")
TABLE = "Object.fromEntries(Object.entries(RULES).map(([n, r]) => [n, r.settings]))"
WEIGHTS = """input.map(({ rule, settings, trace }) => {
  const weigh = RULES[rule].make(settings);
  return trace.strength.map((strength, t) =>
    weigh({ strength, size: trace.size[t], output: trace.output[t] }));
})"""
GAMES = """input.games.map(({ k, imbalance, cosine, rule, settings }) =>
  play(input.world, k, imbalance, cosine, RULES[rule].make(settings)))"""


def javascript(expression: str, given: Any = None) -> Any:
    """What an expression over the page's scripts is, with `input` the given value."""
    function = f"(input) => {{ {SCRIPTS}\nreturn {expression}; }}"
    if node := shutil.which("node"):
        program = f"console.log(JSON.stringify(({function})(JSON.parse(process.argv[1]))))"
        reader = 'process.argv[1] = require("fs").readFileSync(0, "utf8");'
        done = subprocess.run([node, "-e", reader + program], input=json.dumps(given),
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    with browser_page() as page:
        return page.evaluate(function, given)


def traces() -> dict[str, dict[str, list]]:
    """A recorded run, and what a run may meet at worst: zeros, ties, jumps over eight decades."""
    random = np.random.default_rng(0)
    wild = 10 ** random.uniform(-9, -0.5, (3, 30, 4))
    wild[:, 4] = 0.0
    wild[:, 9:12] = 0.02
    wild[:, 20:, 2] = 0.0
    return {
        "recorded": json.loads((DATA / "weights_trace.json").read_text()),
        "wild": dict(zip(("strength", "size", "output"), wild.tolist(), strict=True)),
    }


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every rule with its defaults, and with each slider at either end."""
    for rule, settings in javascript(TABLE).items():
        defaults = {key: s["value"] for key, s in settings.items()}
        yield rule, defaults
        for key, s in settings.items():
            yield from ((rule, defaults | {key: s[end]}) for end in ("low", "high"))


def python_weights(rule: str, settings: dict[str, Any], trace: dict[str, list]) -> np.ndarray:
    weigh = make_rule(rule, **settings)
    columns = (torch.tensor(trace[c], dtype=torch.float64) for c in ("strength", "size", "output"))
    steps = zip(*columns, strict=True)
    return torch.stack([weigh(Feedback(s, g, output_mse=out)) for s, g, out in steps]).numpy()


def test_the_page_offers_every_rule_that_a_recorded_run_can_be_replayed_with() -> None:
    offered = javascript(TABLE)
    assert offered.keys() == RULES.keys() - GRAMIAN
    for rule, settings in offered.items():
        python = make_rule(rule).settings()
        assert {k: s["value"] for k, s in settings.items()}.items() <= python.items()
        assert all(s["low"] <= s["value"] <= s["high"] for s in settings.values())


def test_rules_give_the_weights_of_their_python_twins() -> None:
    asked = [
        {"rule": rule, "settings": settings, "trace": trace}
        for rule, settings in cases()
        for trace in traces().values()
    ]
    assert len(asked) > 60
    for case, weights in zip(asked, javascript(WEIGHTS, asked), strict=True):
        expected = python_weights(case["rule"], case["settings"], case["trace"])
        difference = np.abs(np.array(weights, dtype=float) - expected).max()
        assert difference < TOLERANCE, (case["rule"], case["settings"], difference)


def test_the_toy_plays_the_python_game() -> None:
    games = [
        {"k": k, "imbalance": imbalance, "cosine": cosine, "rule": rule, "settings": settings}
        for k in (1, 2, 4)
        for imbalance, cosine in ((4.0, -0.1), (10.0, 0.9), (1.0, -0.3))
        for rule, settings in (
            ("uniform", {}),
            ("aef", {"tau": 0.01, "beta": 0.5}),
            ("max-min", make_rule("max-min").settings()),
        )
    ]
    found = javascript(GAMES, {"world": world(PLAYERS), "games": games})
    for game, history in zip(games, found, strict=True):
        players = PLAYERS[: game["k"]]
        python = Game(players, game["imbalance"], game["cosine"])
        expected = python.play(game["rule"], **game["settings"])
        for column in ("strength", "weight"):
            wide = expected.pivot(index="step", columns="model", values=column)[list(players)]
            assert np.abs(np.array(history[column]) - wide).to_numpy().max() < TOLERANCE, game


def test_the_comparison_can_fail() -> None:
    trace = traces()["recorded"]
    ask = {"rule": "aef", "settings": {"tau": 0.001, "beta": 0.9}, "trace": trace}
    (weights,) = javascript(WEIGHTS, [ask])
    other = python_weights("aef", {"tau": 0.0011, "beta": 0.9}, trace)
    assert np.abs(np.array(weights) - other).max() > TOLERANCE
