"""Edit survival in words: "of 100 black-hair edits by StarGAN, 12 still work"."""

import pandas as pd

IN_WORDS = {"Male": "gender", "Young": "age", "No_Beard": "beard", "Mouth_Slightly_Open": "mouth"}


def sentences(table: pd.DataFrame) -> pd.Series:
    """What became of each kind of edit in one run: "of 100 black-hair edits by StarGAN, 12 ...".

    Indexed by model and edit, in the order of the table, which is from `evaluate`.
    """
    groups = table.groupby(["model", "edit"], sort=False)["survives"].agg(["count", "sum"])
    return pd.Series({pair: _sentence(*pair, *map(int, n)) for pair, *n in groups.itertuples()})


def _sentence(model: str, edit: str, works: int, survive: int) -> str:
    kind = IN_WORDS.get(edit, edit.lower().replace("_", "-"))
    if works == 0:
        return f"no {kind} edit by {model} works, even without protection"
    return f"of {works} {kind} edit{'s' * (works > 1)} by {model}, {_still(survive)}"


def _still(number: int) -> str:
    return f"{number or 'none'} still work{'s' * (number == 1)}"
