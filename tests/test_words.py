"""What a reader meets first is short: the README, its tables, takeaways, questions."""

import json
import re
from pathlib import Path

import pytest

from aef_core.config import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LINK = re.compile(r"\]\([^)]*\)")


def rows_under(header: str, text: str) -> list[list[str]]:
    """Cells of the table whose first line is `header`."""
    lines = text[text.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def sources(path: Path) -> list[str]:
    """The text of every cell."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]


def words(text: str) -> int:
    return len(LINK.sub("", text).split())


def test_the_readme_is_short() -> None:
    assert 300 < len(README.split()) <= 600


def test_the_readmes_map_says_minutes_for_every_notebook() -> None:
    rows = rows_under("notebook | question | minutes", README)
    named = {}
    for links, _, minutes in rows:
        named |= dict(zip(re.findall(r"\[(\d\d)\]", links), minutes.split(", "), strict=True))
    assert sorted(named) == [path.name[:2] for path in NOTEBOOKS]
    assert all(minutes.isdecimal() for minutes in named.values()), named


def test_the_readmes_claims_fit_on_a_screen() -> None:
    rows = rows_under("verdict | claim", README)
    assert 5 <= len(rows) <= 10
    assert all(verdict.startswith("**") for verdict, _ in rows)
    long = [claim for _, claim in rows if words(claim) > 15]
    assert not long, long


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_takeaways_stand_at_the_top_in_three_short_bullets(path: Path) -> None:
    cells = sources(path)
    heading, *bullets = [line for line in cells[1].splitlines() if line]
    assert heading == "## Takeaways"
    assert len(bullets) == 3
    assert all(line.startswith("- ") for line in bullets)
    long = [line for line in bullets if words(line.removeprefix("- ")) > 40]
    assert not long, long
    assert "(#Takeaways)" in cells[-1], "no link back at the end"
    assert not any("What to take away" in cell for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS[1:6], ids=lambda path: path.name[:2])
def test_two_questions_have_folded_answers(path: Path) -> None:
    (asked,) = [text for text in sources(path) if text.startswith("## Predict, then check")]
    folds = re.findall(r"<details><summary>Answer</summary>\n\n(.+?)\n\n</details>", asked, re.S)
    assert len(folds) == len(re.findall(r"^\*\*\d\. .*\*\*$", asked, re.M)) == 2


@pytest.mark.parametrize("path", NOTEBOOKS[:4], ids=lambda path: path.name[:2])
def test_the_first_cell_tells_the_setting_and_the_readmes_minutes(path: Path) -> None:
    code = [text for text in sources(path) if text.startswith(("import ", "from "))]
    (told,) = re.findall(r"^kept\.strip\(.+, lab, minutes=(\d+)\)$", code[0], re.M)
    assert code[0].endswith(f"minutes={told})")
    assert re.search(rf"^\[{path.name[:2]}\].* \| {told}$", README, re.M)


def test_the_method_is_written_out_and_held_against_the_library() -> None:
    text = "\n".join(sources(NOTEBOOKS[1]))
    (loop,) = [cell for cell in sources(NOTEBOOKS[1]) if "torch.softmax(-E / tau" in cell]
    assert len(loop.splitlines()) <= 20
    assert "assert_close(delta, same.delta" in text
