"""Where the companion keeps what was measured or trained for the notebooks alone."""

from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
