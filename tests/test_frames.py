"""Tables for readers: significant digits, folds, and none too large for a glance."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from aef_core.config import REPOSITORY
from companion.studies.frames import Folded, significant

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))
WIDEST, LONGEST = 8, 12  # columns beside the one that names the rows; rows below the head

TABLE = pd.DataFrame(
    {"value": [0.173456, 1.6234e-5, None, 123456.7], "steps": [480, 1, 2, 3], "word": list("abcd")}
)


def test_four_digits_at_most_and_nothing_else_is_touched() -> None:
    shown = significant(TABLE)
    assert shown["value"].tolist() == ["0.1735", "1.623e-05", "", "123,457"]
    assert shown["steps"].tolist() == [480, 1, 2, 3]
    assert shown["word"].tolist() == list("abcd")
    assert significant(TABLE["value"], 2).iloc[0, 0] == "0.17"


def test_a_fold_has_its_title_and_every_table() -> None:
    fold = Folded("All numbers", TABLE, TABLE[["word"]])
    html = fold._repr_html_()
    assert html.startswith("<details><summary>All numbers</summary>")
    assert html.count("<table") == 2
    assert html.endswith("</details>")
    assert "0.1735" in repr(fold)


def size(table: str) -> tuple[int, int]:
    """Columns beside the first, which names the rows, and rows, of an HTML table."""
    head, _, body = table.partition("<tbody>")
    lines = [re.findall(r"<t[hd]\b([^>]*)>", row) for row in re.split(r"<tr\b", table)[1:]]
    spans = [
        [int((re.findall(r'colspan="(\d+)"', cell) or [1])[0]) for cell in row] for row in lines
    ]
    return max(map(sum, spans)) - 1, len(re.findall(r"<tr\b", body or head))


def open_tables(html: str) -> list[str]:
    """The tables that are not behind a fold."""
    shown = re.sub(r"<details.*?</details>", "", html, flags=re.DOTALL)
    return re.findall(r"<table.*?</table>", shown, re.DOTALL)


def test_the_size_of_a_table_counts_values_and_extra_row_names() -> None:
    assert size(TABLE.to_html()) == (3, 4)
    named = TABLE.set_index(["word", "steps"])
    assert size(named.to_html()) == (2, 4)
    wide = TABLE.pivot(index="word", columns="steps", values=["value", "steps"])
    assert size(wide.to_html()) == (8, 4)
    assert open_tables(TABLE.to_html() + Folded("", TABLE)._repr_html_()) == open_tables(
        TABLE.to_html()
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_no_stored_table_is_too_large_for_a_glance(path: Path) -> None:
    large = {}
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            html = "".join(output.get("data", {}).get("text/html", ""))
            for columns, rows in map(size, open_tables(html)):
                if columns > WIDEST or rows > LONGEST:
                    large[cell["id"]] = f"{columns} columns, {rows} rows"
    assert not large, f"fold these (companion.studies.frames.Folded) and run the notebook: {large}"
