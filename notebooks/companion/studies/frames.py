"""Tables for readers: few digits, and large ones behind a fold."""

from typing import Any

import pandas as pd
from IPython.display import HTML


def significant(table: pd.DataFrame | pd.Series, digits: int = 4) -> pd.DataFrame:
    """The table to look at: floats as text of so many significant digits, NaN as an empty cell."""
    frame = table.to_frame() if isinstance(table, pd.Series) else table
    return frame.map(lambda value: _text(value, digits))


def folded(title: str, *tables: pd.DataFrame | pd.Series) -> HTML:
    """Tables behind a click on their title, in Jupyter and on the site."""
    body = "\n".join(significant(table).to_html() for table in tables)
    return HTML(f"<details><summary>{title}</summary>\n{body}\n</details>")


def _text(value: Any, digits: int) -> Any:
    if not isinstance(value, float):
        return value
    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
