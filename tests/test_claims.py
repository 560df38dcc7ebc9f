"""The ledger: verdicts follow the numbers, and change with them."""

import inspect
import json

import pandas as pd
import pytest
import torch

from aef_core.config import REPOSITORY
from aef_core.metrics import Evaluator
from companion import claims, plots
from companion.claims import evidence
from companion.claims import seeds as s
from companion.claims import verdicts as v
from companion.claims.evidence import Evidence, NotMeasured
from companion.training.persistence import persistence

from .conftest import make_faces, tiny_zoo

MODELS = ("A", "B", "C", "D")


def write(folder, name: str, data, profile: str = "quick") -> None:
    if isinstance(data, pd.DataFrame):
        data = data.to_dict("records")
    (folder / f"{name}.json").write_text(json.dumps({"config": {"profile": profile}, "data": data}))


def levels(**methods: tuple[float, ...]) -> pd.DataFrame:
    rows = [
        {"method": m.replace("_", "-"), "model": k, "value": x}
        for m, values in methods.items()
        for k, x in zip(MODELS, values, strict=True)
    ]
    return pd.DataFrame(rows)


def change(**measures: tuple[float, float, float]) -> pd.DataFrame:
    rows = [
        {"baseline": "uniform", "measure": m, "value": x, "low": a, "high": b}
        for m, (x, a, b) in measures.items()
    ]
    return pd.DataFrame(rows)


def test_every_claim_is_complete() -> None:
    assert len({c.text for c in claims.CLAIMS}) == len(claims.CLAIMS)
    notebooks = {p.name[:2] for p in (REPOSITORY / "notebooks").glob("*.ipynb")}
    for claim in claims.CLAIMS:
        if claim.judge is None:
            assert claim.why, claim.text
            continue
        assert inspect.getdoc(claim.judge), claim.text
        assert claim.tested[:2] in notebooks, claim.text
    judges = [c.judge for c in claims.CLAIMS if c.judge]
    public = [
        f
        for module in (v, s)
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and not name.startswith("_") and name != "grade"
    ]
    assert set(judges) == set(public), "a judge without a claim"


def test_without_measurements_nothing_is_claimed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(v, "results_path", lambda data: tmp_path / data)  # not the shipped ones
    rows = claims.ledger(Evidence("quick", tmp_path))
    words = set(rows["verdict"])
    assert words <= {v.OPEN, v.CANNOT}
    assert claims.tally(rows).sum() == len(claims.CLAIMS)
    assert "run notebook 01" in rows.set_index("claim")["numbers"].iloc[0]
    assert plots.verdicts.tally_bar(claims.tally(rows)).axes


def test_numbers_of_another_profile_do_not_count(tmp_path) -> None:
    write(tmp_path, "02_tau", [{"tau": 0.1, "l2_mask": 1.0}], profile="smoke")
    with pytest.raises(NotMeasured, match="another profile"):
        Evidence("quick", tmp_path).table("02_tau")


@pytest.mark.parametrize(
    ("uniform", "word"),
    [((0.9, 0.2, 0.3, 0.4), v.HOLDS), ((0.9, 0.6, 0.8, 0.8), v.PART), ((0.9,) * 4, v.NOT)],
)
def test_imbalance_is_measured_against_ceilings(tmp_path, uniform, word) -> None:
    write(tmp_path, "01_imbalance", levels(specialist=(1, 1, 1, 1), uniform=uniform))
    found = v.imbalance(Evidence("quick", tmp_path))
    assert found.word == word
    assert "A reaches 90% of its ceiling" in found.numbers


@pytest.mark.parametrize(
    ("minimum", "spread", "word"),
    [
        ((0.02, 0.01, 0.03), (-0.1, -0.2, -0.05), v.HOLDS),
        ((0.02, -0.01, 0.03), (-0.1, -0.2, -0.05), v.PART),
        ((-0.02, -0.03, -0.01), (0.1, 0.05, 0.2), v.NOT),
        ((0.0, -0.01, 0.01), (0.0, -0.1, 0.1), v.NOT),
    ],
)
def test_better_needs_intervals_clear_of_zero(minimum, spread, word) -> None:
    rows = change(min=minimum, spread=spread, mean=(0, -1, 1))
    assert v.beats_averaging(Evidence("quick", measured={"rules": rows})).word == word


def test_conflicts_are_counted_over_pairs(tmp_path) -> None:
    matrix = [[1, 0.2, -0.1], [0.2, 1, 0.3], [-0.1, 0.3, 1]]
    write(tmp_path, "01_conflicts", {"uniform": matrix})
    found = v.gradients_conflict(Evidence("quick", tmp_path))
    assert found == (v.PART, "33% of pairs negative; cosines -0.10 to +0.30")


def test_weights_on_the_resistant(tmp_path) -> None:
    write(tmp_path, "02_strength", levels(aef=(0.5, 0.3, 0.1, 0.4)))
    for weights, word in (
        ((0.1, 0.2, 0.6, 0.1), v.HOLDS),
        ((0.24, 0.25, 0.27, 0.24), v.PART),
        ((0.6, 0.2, 0.1, 0.1), v.NOT),
    ):
        write(tmp_path, "02_weights", levels(aef=weights))
        assert v.favours_resistant(Evidence("quick", tmp_path)).word == word


def test_transfer_needs_the_held_out_to_fare_alike(tmp_path) -> None:
    for aef, word in ((0.7, v.HOLDS), (0.2, v.PART), (0.05, v.NOT)):
        rows = [
            {"method": m, "role": role, "worst / best": x}
            for m, role, x in (
                ("AEF", "left out", aef), ("AEF", "optimised on", 0.9),
                ("averaging", "left out", 0.1),
            )
        ]  # fmt: skip
        write(tmp_path, "10_balance", rows)
        assert s.balance_transfers(Evidence("quick", tmp_path)).word == word


def test_retraining_and_poison() -> None:
    share = pd.DataFrame({"share": {"AEF": 0.2, "CMUA": 0.7, "TSDF": 0.3}})
    found = Evidence("quick", measured={"retraining": share})
    assert s.retraining_undoes(found).word == v.PART
    assert s.tsdf_persists(found).word == v.PART
    recall = pd.DataFrame({"recall": {"AEF": 0.9, "TSDF": 0.3}})
    assert s.poison_works(Evidence("quick", measured={"detection": recall})).word == v.HOLDS


def test_the_page_holds_every_claim_once(tmp_path) -> None:
    rows = claims.ledger(Evidence("quick", tmp_path))
    page = claims.markdown(rows, "quick")
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(table) == len(claims.CLAIMS) + 1
    assert claims.keep(rows, "smoke").read_text() == claims.markdown(rows, "smoke")


def test_the_page_in_the_repository_lists_the_claims_of_the_code() -> None:
    page = REPOSITORY / "docs" / "claims.md"
    if not page.exists():
        pytest.skip("written by notebook 12")
    for claim in claims.CLAIMS:
        assert f"| {claim.text} |" in page.read_text()


def test_equilibrium_reads_late_weights_of_every_rule() -> None:
    from aef_core.perturbation import PerturbationConfig
    from aef_core.perturbation.runs import optimize

    zoo, config = tiny_zoo(), PerturbationConfig(steps=4, step_size=0.02, batch=4)
    runs = {(m, 0): optimize(zoo, make_faces(), m, config) for m in ("uniform", "aef")}
    found = evidence.equilibrium(runs)
    assert found.loc["uniform", "restlessness"] == 0
    assert found.loc["aef", "restlessness"] > 0
    assert found.loc["uniform", "largest weight"] == pytest.approx(0.25)


def test_persistence_retrains_the_most_interrupted(faces) -> None:
    zoo = {k: g for k, g in tiny_zoo().items() if k in ("StarGAN", "AttGAN")}
    judge = Evaluator(zoo, make_faces(3, seed=2))
    pattern = 0.05 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).sign()
    rows = persistence(judge, faces, {"AEF": pattern, "TSDF": -pattern}, epochs=1)
    levels = judge(pattern).groupby("model")["l2_mask"].mean()
    assert set(rows["model"]) == {levels.idxmax()}
    assert rows.loc["AEF", "before"] == pytest.approx(levels.max(), rel=1e-3)
    assert (rows["share"] == rows["after"] / rows["before"]).all()


@pytest.mark.parametrize(
    ("levels", "cycle", "identity"),
    [  # of the arms neither, cycle, identity and both
        ((1, 3, 1 / 3, 1), v.HOLDS, v.HOLDS),
        ((3, 1, 0.3, 0.1), v.NOT, v.HOLDS),
        ((1, 3, 1, 1), v.PART, v.PART),
        ((1, 0.5, 1, 0.6), v.NOT, v.NOT),
    ],
)
def test_cycle_and_identity_are_judged_apart(tmp_path, levels, cycle, identity) -> None:
    rows = [
        {"architecture": "A", "seed": seed, "arm": arm, "cycle": 0, "iteration": 8,
         "success": 0.8, "l2_mask": 0.01 * level * (1 + noise * seed)}
        for seed in range(3)
        for arm, level, noise in zip(("neither", "cycle", "identity", "both"), levels,
                                     (0.01, 0.03, 0.02, 0.0), strict=True)
    ]  # fmt: skip
    write(tmp_path, "09_growth", rows)
    e = Evidence("quick", tmp_path)
    assert s.cycle_makes_fragile(e).word == cycle
    assert s.identity_protects(e).word == identity
    assert s.cycle_makes_fragile(e).numbers.startswith("A, cycle, without identity: x ")
