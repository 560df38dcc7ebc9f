"""Shared fixtures. Device and seed are fixed here, so the same suite runs on CPU and GPU."""

from pathlib import Path

DATA = Path(__file__).parent / "data"
