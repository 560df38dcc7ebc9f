"""The process of one batch: runs its cases one after the other, a JSON line before and after each.

python -m tests.campaign.child KIND SEED SCALE FIRST
"""

import io
import json
import os
import sys
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from aef_core.errors import AEFError

from . import GOOD, Case, Harm, cases

TREASURE = "what the user had before\n"


def main(kind: str, seed: str, scale: str, first: str) -> None:
    """Run the cases of a kind from the first-th on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library writes past Python
    for number, case in enumerate(cases(kind, int(seed), float(scale))):
        if number >= int(first):
            print(json.dumps({"begins": case.name}), file=answers, flush=True)
            print(json.dumps(run(case)), file=answers, flush=True)


def run(case: Case) -> tuple[str, str]:
    """The end of a case and what was said."""
    folder, environment, arguments = Path.cwd(), dict(os.environ), sys.argv
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as scratch:
        scratch = Path(scratch)
        scratch.chmod(0o777)  # a case may give up root's rights
        (scratch / "treasure").write_text(TREASURE)
        os.chdir(scratch)
        os.environ |= {"AEF_HOME": str(scratch / "home"), "AEF_FIGURES": str(scratch / "figures"),
                       "AEF_DEVICE": "cpu"}  # fmt: skip
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
                end, said = _ending(case, scratch, errors)
            if (scratch / "treasure").read_text() != TREASURE:
                end, said = "harm", "a file of the user was changed"
            elif left := [p.name for p in scratch.rglob(".aef-*")]:
                end, said = "harm", f"left behind: {left[0]}"
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ |= environment
            sys.argv = arguments
    if case.sound and end != "accepted" and end in GOOD:
        return "unclear", f"refused, though sound: {said}"
    return end, said


def _ending(case: Case, scratch: Path, errors: io.StringIO) -> tuple[str, str]:
    try:
        return ("accepted", "") if case.act(scratch) else ("silent nonsense", "taken for good")
    except Harm as harm:
        return "harm", str(harm)
    except AEFError as error:
        return judged(str(error), case.culprit)
    except SystemExit as end:
        if end.code in (0, None):
            return ("accepted", "") if case.sound else ("silent nonsense", "exit 0")
        last = end.code if isinstance(end.code, str) else ""
        return judged(errors.getvalue() + last, case.culprit)
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
