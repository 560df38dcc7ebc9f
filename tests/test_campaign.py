"""A few cases of `make campaign`, and that it notices defects planted on purpose."""

from itertools import islice

import pytest

from aef_core.perturbation import store

from .campaign import GOOD, KINDS, cases
from .campaign.__main__ import batch
from .campaign.child import run

EVERY = {"settings": 60, "command lines": 40, "photos": 12, "full disk": 6}  # one in so many cases


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "concurrent writers"])
def test_a_handful_of_attacks_ends_well(kind: str) -> None:
    ends = {}
    for case in islice(cases(kind, 7, 0.1), 0, None, EVERY.get(kind, 9)):
        ends[case.name] = run(case)
    assert ends
    assert [f"{name}: {end}" for name, end in ends.items() if end[0] not in GOOD] == []


@pytest.mark.slow
def test_the_campaign_sees_a_planted_defect_of_every_kind_and_goes_on() -> None:
    """Also after a hang and after the death of its process."""
    told = list(batch("planted.planted", 0, 1, patience=3))
    assert [end for _, end, _ in told] == [name for name, _, _ in told]
    assert len(told) == 14


def test_the_campaign_sees_a_check_that_was_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look at delta, NaN under a checksum that fits passes for good."""
    damaged = cases("damaged store entries", 0, 0.1)
    forged = next(case for case in damaged if case.name == "delta nan")
    assert run(forged)[0] == "clear line"
    monkeypatch.setattr(store, "_check_delta", lambda *_: None)
    assert run(forged)[0] == "silent nonsense"
