"""Every file that the library or its companion writes appears whole, or not at all."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aef_core.config import REPOSITORY

DOOR = REPOSITORY / "aef_core" / "atomic.py"
METHODS = {"write_text", "write_bytes", "to_csv", "to_json", "to_pickle", "to_parquet", "savefig",
           "save", "save_file", "savez", "savez_compressed", "dump", "tofile", "imsave",
           "touch"}  # fmt: skip
MOVES = re.compile(r"(os\.(rename|replace|link)|shutil\.(copy|move)\w*)$")
OURS = {"training.save", "study.save"}  # methods of the companion that go through the door
IN_MEMORY = {"safetensors.torch.save"}  # gives bytes back
# A line added to a training log: an earlier line is never touched, a kill costs the last one.
APPENDED = {"notebooks/companion/zoo/train.py"}


def opens_for_writing(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    values = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
    modes = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    return name in ("open", "ZipFile") and any(re.fullmatch("[rbt]*[wax+][bt+]*", m) for m in modes)


def is_writer(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    if opens_for_writing(call) or MOVES.match(name) or name == "save_file":
        return True
    method = isinstance(call.func, ast.Attribute) and call.func.attr in METHODS
    gives_text = method and call.func.attr.startswith("to_") and not call.args
    return method and not gives_text and name not in OURS | IN_MEMORY


def names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def safe_names(function: ast.AST) -> set[str]:
    """Names of what `replacement` gave, of what was opened there, and of buffers in memory."""
    safe: set[str] = set()
    for node in ast.walk(function):
        made = [(i.context_expr, i.optional_vars) for i in getattr(node, "items", [])]
        made += [(node.value, t) for t in node.targets] if isinstance(node, ast.Assign) else []
        for value, target in made:
            call = getattr(value, "func", None)
            through = call is not None and ast.unparse(call) in ("replacement", "io.BytesIO")
            opened = isinstance(value, ast.Call) and opens_for_writing(value)
            if target is not None and (through or opened):  # the opening itself is judged, too
                safe |= names(target)
    return safe


def offenders(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    inner = {c for f in functions for c in ast.walk(f) if isinstance(c, ast.Call)}
    scopes = [(f, [c for c in ast.walk(f) if isinstance(c, ast.Call)]) for f in functions]
    scopes.append((tree, [c for c in ast.walk(tree) if isinstance(c, ast.Call) and c not in inner]))
    for scope, calls in scopes:
        safe = safe_names(scope)
        yield from (f"{path.name}:{c.lineno} {ast.unparse(c.func)}" for c in calls
                    if is_writer(c) and not names(c) & safe)  # fmt: skip


def test_every_writer_goes_through_the_one_door() -> None:
    found = {}
    for room in ("aef_core", "notebooks/companion"):
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            lines = sorted(set(offenders(path))) if path != DOOR else []
            if lines:
                found[path.relative_to(REPOSITORY).as_posix()] = lines
    appended = [found.pop(place) for place in sorted(APPENDED)]
    assert found == {}
    assert [len(lines) for lines in appended] == [1]
    assert all(lines[0].endswith("jsonl').open") for lines in appended)


@pytest.mark.parametrize(
    "line",
    ["open(path, 'w').write(x)", "path.write_text(x)", "torch.save(x, path)", "t.to_csv(path)",
     "figure.savefig(path)", "path.open('ab')", "np.savez(path, x)", "os.replace(a, path)",
     "json.dump(x, file)", "save_file(x, path)", "ZipFile(path, 'w')"],
)  # fmt: skip
def test_it_sees_a_writer_that_goes_round(line: str, tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text(f"def f():\n    {line}\n")
    assert list(offenders(module))
    module.write_text(
        "def f():\n    with replacement(path) as temporary:\n        "
        + line.replace("path", "temporary").replace("file)", "temporary)")
        + "\n"
    )
    assert not list(offenders(module))
