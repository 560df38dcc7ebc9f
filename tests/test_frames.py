"""Tables for readers: significant digits and folds."""

import pandas as pd

from companion.studies.frames import Folded, significant

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
