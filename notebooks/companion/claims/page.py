"""The ledger as a page: a tally, the decisive rows, then the rest by who claims it."""

import re
from pathlib import Path

import pandas as pd

from aef_core.atomic import write_text
from aef_core.config import REPOSITORY, home
from companion.claims import words as w

COLUMNS = ("verdict", "claim", "numbers", "it holds if", "smallest effect", "measured in")


def tally(rows: pd.DataFrame) -> pd.Series:
    """How many claims got which word."""
    return rows["verdict"].value_counts().reindex(w.WORDS, fill_value=0).rename("claims")


def markdown(rows: pd.DataFrame, profile: str) -> str:
    """The page: the tally, the five decisive rows, a table per source.

    Parameters
    ----------
    rows : DataFrame
        From `claims.ledger`.
    profile : str
        The one whose numbers these are.
    """
    counted = ", ".join(f"**{word}** {n}" for word, n in tally(rows).items() if n)
    parts = {"What decides": rows[rows["decisive"]]}
    parts |= dict(iter(rows[~rows["decisive"]].groupby("source", sort=False)))
    head = (
        "# Ledger of claims\n\n"
        f"{len(rows)} claims: {counted}.\n\n"
        f"Written by [notebook 12](../notebooks/12_claims.ipynb), profile `{profile}`; do not edit."
        " Verdicts come from code ([verdicts.py](../notebooks/companion/claims/verdicts.py),"
        " [seeds.py](../notebooks/companion/claims/seeds.py),"
        " [detectors.py](../notebooks/companion/claims/detectors.py)) applied to measured numbers."
        " An effect below the smallest one of its row is not counted. What the words mean:"
        " [protocol](protocol.md).\n"
    )
    sections = (f"\n## {name}\n\n{table(part)}" for name, part in parts.items())
    return head + "".join(sections)


def table(rows: pd.DataFrame) -> str:
    """Rows of the ledger as one Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in rows.to_dict("records"):
        cells = (f"**{row['verdict']}**", row["claim"], row["numbers"], row["criterion"],
                 row["smallest effect"], linked(row["tested in"]))  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def linked(tested: str) -> str:
    """ "13, section 4" with a link to notebook 13."""
    paths = {p.name[:2]: p.name for p in (REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    return re.sub(r"\b\d\d\b", lambda m: f"[{m[0]}](../notebooks/{paths[m[0]]})", tested)


def keep(rows: pd.DataFrame, profile: str) -> Path:
    """Write the page: `docs/claims.md`, or beside the runs for the smoke profile's noise."""
    path = home() / "claims.md" if profile == "smoke" else REPOSITORY / "docs" / "claims.md"
    write_text(path, markdown(rows, profile))
    return path
