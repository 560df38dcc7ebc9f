"""Where the companion keeps what was measured, trained or drawn for the notebooks alone."""

import os
from pathlib import Path

from aef_core.config import REPOSITORY, get_profile, home

ASSETS = Path(__file__).parent / "assets"


def figures_dir() -> Path:
    """Folder of figures: `AEF_FIGURES`, else `figures/` in the checkout.

    The smoke profile draws noise, so its figures go beside the runs instead.
    """
    if os.environ.get("AEF_FIGURES"):
        return Path(os.environ["AEF_FIGURES"])
    return home() / "figures" if get_profile().name == "smoke" else REPOSITORY / "figures"
