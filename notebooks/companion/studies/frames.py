"""Tables for readers: few digits, and large ones behind a fold."""

from typing import Any

import pandas as pd


def significant(table: pd.DataFrame | pd.Series, digits: int = 4) -> pd.DataFrame:
    """The table to look at: floats as text of so many significant digits, NaN as an empty cell."""
    frame = table.to_frame() if isinstance(table, pd.Series) else table
    return frame.map(lambda value: _text(value, digits))


class Folded:
    """Tables behind a click on their title, in Jupyter and on the site; plain text elsewhere."""

    def __init__(self, title: str, *tables: pd.DataFrame | pd.Series) -> None:
        self.title, self.tables = title, [significant(table) for table in tables]

    def __repr__(self) -> str:
        return "\n\n".join([self.title, *(table.to_string() for table in self.tables)])

    def _repr_html_(self) -> str:
        body = "\n".join(table.to_html() for table in self.tables)
        return f"<details><summary>{self.title}</summary>\n{body}\n</details>"


def _text(value: Any, digits: int) -> Any:
    if not isinstance(value, float):
        return value
    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
