"""Run the campaign, print the table and every bad end; exit 1 if there is one.

python -m tests.campaign [--seed 0] [--scale 1] [--only KIND] [--write]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import Empty, Queue
from threading import Thread

import pandas as pd

from aef_core.config import REPOSITORY

from . import ENDS, GOOD, KINDS

PATIENCE = 30.0  # seconds without a word before a case counts as a hang
START = 120.0  # the same for a process that has yet to begin, and for cases that start some
PAGE = REPOSITORY / "docs" / "robustness.md"
HEAD = """# What this package makes of what it ought not to meet

Written by `{command}` on {date}: seed {seed}, {minutes:.1f} minutes on one core. A row is a kind of
attack, a number a count of cases. *Accepted*: a right result came out. *Clear line*: refused in one
line that names the culprit. The last five ought to be 0: a refusal that is long or names nothing, a
traceback, no end within {patience:.0f} seconds ({start:.0f} where processes are started), nonsense
taken for good, and harm (a result lost, another file changed, something left behind). The attacks
are in `tests/campaign/`.

- "Kill -9" is a SIGKILL at random moments and before single file operations; "concurrent writers"
  are two to four processes that make the same run.
- "Full disk" means that single file operations fail (ENOSPC, EIO) and that files may not grow past
  a limit; "read-only home" that the store's rights are taken away. Then the cause is removed, and
  the same call must end in the same bits.
- Command lines meet tiny generators in the place of the embedded and official ones.

"""


def batch(kind: str, seed: int, scale: float, patience: float) -> Iterator[tuple[str, str, str]]:
    """Name, end and message of every case of a kind; a fresh process after a hang or a crash."""
    begun = finished = 0
    while begun == finished or begun > 0:
        lines: Queue[str] = Queue()
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.child", kind, str(seed), str(scale), str(begun)],
            stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=REPOSITORY,
        )  # fmt: skip
        reader = Thread(target=_pass_on, args=(child.stdout, lines), daemon=True)
        reader.start()
        try:
            wait = START
            while line := lines.get(timeout=wait):
                told, wait = json.loads(line), patience
                if isinstance(told, dict):
                    name, begun = told["begins"], begun + 1
                else:
                    finished += 1
                    yield name, *told
            code = child.wait()
            end = ("traceback", f"the process ended with {code}")
        except Empty:
            code, end = None, ("hang", f"no end after {wait:.0f} s")
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            reader.join()
            child.stdout.close()
        if code == 0:
            return
        if begun == finished:  # outside of any case: the campaign itself is at fault
            raise RuntimeError(f"{kind}: the batch ended with {end[1]} before case {begun}")
        finished += 1
        yield name, *end


def _pass_on(stream: Iterator[str], lines: "Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def main() -> None:
    """Run every batch."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the cases drawn")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    chosen = parser.parse_args()
    started = time.monotonic()
    table = pd.DataFrame(0, index=[k for k in KINDS if chosen.only in k], columns=list(ENDS))
    bad = 0
    for kind in table.index:
        since = time.monotonic()
        patience = START if kind in ("kill -9", "concurrent writers") else PATIENCE
        for name, end, said in batch(kind, chosen.seed, chosen.scale, patience):
            table.loc[kind, end] += 1
            if end not in GOOD:
                bad += 1
                print(f"{end}: {kind}, {name}: {said}", flush=True)
        print(f"{kind}: {table.loc[kind].sum()} cases, {time.monotonic() - since:.0f} s",
              file=sys.stderr, flush=True)  # fmt: skip
    table.loc["all"] = table.sum()
    table.insert(0, "cases", table.sum(axis=1))
    print(table.to_string())
    if chosen.write:
        minutes = (time.monotonic() - started) / 60
        head = HEAD.format(
            command="make campaign",
            date=datetime.now(UTC).date(),
            seed=chosen.seed,
            minutes=minutes,
            patience=PATIENCE,
            start=START,
        )
        PAGE.write_text(head + _markdown(table))
    sys.exit(1 if bad else 0)


def _markdown(table: pd.DataFrame) -> str:
    rows = [["kind", *table.columns], ["---", *["---:"] * len(table.columns)]]
    rows += [[kind, *map(str, counts)] for kind, counts in zip(table.index, table.values.tolist(),
                                                               strict=True)]  # fmt: skip
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
