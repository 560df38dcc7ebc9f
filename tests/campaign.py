"""A hostile campaign from fixed seeds: what this package makes of what it ought not to meet.

    python -m tests.campaign [--scale 0.1] [--only damaged] [--seed 0]

Every case runs in a forked process of its own, in a scratch folder with its own store. Its end is
one of `ENDS`; only the first two are good ones. Not part of `make test`.
"""

import argparse
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from aef_core.errors import AEFError

ENDS = ("accepted", "clear line", "unclear", "traceback", "hang", "silent nonsense", "harm")
PATIENCE = 30  # seconds of a case before it counts as a hang


class Harm(Exception):
    """Raised by a case that finds a file it had put down changed or gone, or a result lost."""


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes
    ----------
    kind : str
        Row of the table.
    name : str
        What is done, for the list of bad ends.
    act : callable
        Does it, in the scratch folder it is given; what it returns is truthy if a right result came
        out, falsy if nonsense was taken for good.
    culprits : tuple of str
        Each must be in the message for a refusal to be clear.
    """

    kind: str
    name: str
    act: Callable[[Path], object]
    culprits: tuple[str, ...] = ()


def run(case: Case) -> tuple[str, str]:
    """The end of a case and what was said."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        os.chmod(scratch, 0o777)  # so that a case may drop root's rights
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()  # a hang is ended with whatever it has started
            os.close(reader)
            with os.fdopen(writer, "wb") as out:
                pickle.dump(_inside(case, Path(scratch)), out)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            hung = not _ended(child, PATIENCE)
            content = b"" if hung else answer.read()
    if hung:
        return "hang", f"no end after {PATIENCE} s"
    return pickle.loads(content) if content else ("traceback", "the process died")


def _ended(child: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _inside(case: Case, scratch: Path) -> tuple[str, str]:
    """In the child: act, and name the end."""
    os.chdir(scratch)
    os.environ |= {"AEF_HOME": str(scratch / "home"), "AEF_FIGURES": str(scratch / "figures"),
                   "AEF_PROFILE": "smoke", "AEF_DEVICE": "cpu"}  # fmt: skip
    said = os.open(scratch / "said", os.O_RDWR | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        return ("accepted", "") if case.act(scratch) else ("silent nonsense", "taken for good")
    except Harm as harm:
        return "harm", str(harm)
    except AEFError as error:
        return judged(str(error), case.culprits)
    except SystemExit as end:
        sys.stdout.flush()
        text = end.code if isinstance(end.code, str) else (scratch / "said").read_text()
        if end.code in (0, None):
            return "silent nonsense", "exit 0"
        return judged(text.strip().removeprefix("error: "), case.culprits)
    except BaseException as error:
        return "traceback", traceback.format_exception(error)[-1].strip()[:300]


def judged(message: str, culprits: tuple[str, ...]) -> tuple[str, str]:
    """Is a refusal one line that names the culprits? Typer's box counts as one line."""
    lines = [line for line in message.splitlines() if line.strip()]
    typer_box = lines and lines[0].startswith("Usage:")
    clear = (len(lines) == 1 or typer_box) and all(c.lower() in message.lower() for c in culprits)
    return "clear line" if clear else "unclear", message[:300]


def cases(seed: int, scale: float) -> Iterator[Case]:
    """All of them; `scale` multiplies how many of each kind."""
    from tests import campaign_damage, campaign_inputs, campaign_store

    for module in (campaign_store, campaign_damage, campaign_inputs):
        for attack in module.ATTACKS:
            yield from attack(seed, scale)


def main() -> None:
    """Run the campaign, print the table and every bad end; exit 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="", help="kinds whose name has this in it")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has no threads of its parent
    counts, bad = {}, []
    for case in cases(chosen.seed, chosen.scale):
        if chosen.only not in case.kind:
            continue
        end, said = run(case)
        row = counts.setdefault(case.kind, dict.fromkeys(ENDS, 0))
        row[end] += 1
        if end not in ENDS[:2]:
            bad.append(f"{end}: {case.kind}, {case.name}: {said}")
    table = pd.DataFrame(counts).T
    table.loc["all"] = table.sum()
    print("\n".join(bad))
    print(table.to_string())
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    from tests.campaign import main  # the modules of attacks import this one by its name

    main()
