"""The process of one batch: runs its cases one after the other, a JSON line before and after each.

    python -m tests.campaign.child KIND SEED SCALE FIRST
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from aef_core.errors import AEFError

from . import GOOD, Case, Harm, cases

TREASURE = "what the user had before\n"


def main(kind: str, seed: str, scale: str, first: str) -> None:
    """Run the cases of a kind from the first-th on."""
    answers = os.fdopen(os.dup(1), "w")
    for number, case in enumerate(cases(kind, int(seed), float(scale))):
        if number >= int(first):
            print(json.dumps({"begins": case.name}), file=answers, flush=True)
            print(json.dumps(run(case)), file=answers, flush=True)


def run(case: Case) -> tuple[str, str]:
    """The end of a case and what was said."""
    before = Path.cwd(), dict(os.environ), sys.argv, os.dup(1), os.dup(2)
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as scratch:
        scratch = Path(scratch)
        scratch.chmod(0o777)  # a case may give up root's rights
        (scratch / "treasure").write_text(TREASURE)
        os.chdir(scratch)
        os.environ |= {"AEF_HOME": str(scratch / "home"), "AEF_FIGURES": str(scratch / "figures"),
                       "AEF_PROFILE": "smoke", "AEF_DEVICE": "cpu"}  # fmt: skip
        for stream, name in ((1, "out"), (2, "err")):
            said = os.open(scratch / name, os.O_RDWR | os.O_CREAT)
            os.dup2(said, stream)
            os.close(said)
        try:
            end, said = _ending(case, scratch)
            if (scratch / "treasure").read_text() != TREASURE:
                end, said = "harm", "a file of the user was changed"
            elif left := [p.name for p in scratch.rglob(".aef-*")]:
                end, said = "harm", f"left behind: {left[0]}"
        finally:
            sys.stdout.flush()
            os.chdir(before[0])
            os.environ.clear()
            os.environ |= before[1]
            sys.argv = before[2]
            for stream, kept in ((1, before[3]), (2, before[4])):
                os.dup2(kept, stream)
                os.close(kept)
    if case.sound and end != "accepted" and end in GOOD:
        return "unclear", f"refused, though sound: {said}"
    return end, said


def _ending(case: Case, scratch: Path) -> tuple[str, str]:
    try:
        return ("accepted", "") if case.act(scratch) else ("silent nonsense", "taken for good")
    except Harm as harm:
        return "harm", str(harm)
    except AEFError as error:
        return judged(str(error), case.culprit)
    except SystemExit as end:
        sys.stderr.flush()
        written = (scratch / "err").read_text(errors="replace")
        if end.code in (0, None):
            return ("accepted", "") if case.sound else ("silent nonsense", "exit 0")
        return judged(written + (end.code if isinstance(end.code, str) else ""), case.culprit)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        last = traceback.format_exception_only(error)[-1].strip()
        return "traceback", f"{last[:250]} ({Path(where.filename).name}:{where.lineno})"


def judged(message: str, culprit: str) -> tuple[str, str]:
    """Is a refusal one line that names the culprit? What a closed bar has wiped does not count."""
    lines = [shown for line in message.strip().split("\n") if (shown := line.split("\r")[-1])]
    clear = len(lines) == 1 and len(lines[0].splitlines()) == 1 and culprit in lines[0]
    return "clear line" if clear else "unclear", message[:300]


if __name__ == "__main__":
    main(*sys.argv[1:])
