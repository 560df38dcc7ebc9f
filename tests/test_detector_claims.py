"""The detectors' rows of the ledger follow their tables, and what the long runs keep."""

from pathlib import Path

import pandas as pd
import pytest

from companion.claims import detectors as d
from companion.claims import words as w
from companion.claims.evidence import Evidence
from companion.detectors import __main__ as long_runs
from companion.detectors import arms, backbone, falsifiers, leave_one_out, scores, study
from companion.detectors.corit import falsifiers as corit
from companion.detectors.corit import study as corit_study
from companion.detectors.corit.bench import EDIT, RANDOM, SEMANTIC, SIZES, TRACE, open_bench
from companion.detectors.faces import FaceSet, faces_of, join
from companion.zoo.critic import RandomBackbone

from .test_detectors import photographs, probes, score_table

E = Evidence("quick")
NOISY = f"{TRACE}, 50% noise"


def bright_fakes() -> FaceSet:
    """Fakes that are brighter, but for HiSD's, which are darker."""
    light = dict.fromkeys((*scores.GENERATORS, "SBI"), 55) | {"real": 0, "SBI real": 0, "HiSD": -45}
    sets = []
    for i, (kind, shift) in enumerate(light.items()):
        images = (photographs(16, 32, seed=i).int() // 2 + 60 + shift).clamp(0, 255).byte()
        sets.append(faces_of(images, int(shift != 0), kind, [str(k) for k in range(16)]))
    return join(*sets)


@pytest.fixture
def lit(monkeypatch: pytest.MonkeyPatch) -> FaceSet:
    """`bright_fakes`, seen by the random backbone."""
    monkeypatch.setattr(backbone, "open_backbone", lambda: (RandomBackbone(), False))
    return bright_fakes()


def long_run(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The one command in miniature, from the home and to the folder `out` in `folder`."""
    lit = bright_fakes()
    patch.setenv("AEF_HOME", str(folder / "home"))
    patch.setattr(backbone, "open_backbone", lambda: (RandomBackbone(), False))
    patch.setattr(long_runs, "face_sets", lambda args: (lit, {"val": lit, "test": lit}))
    command = ["--steps", "1", "--seeds", "1", "--size", "smoke", "--out", str(folder / "out")]
    long_runs.main(command)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a long run."""
    folder = tmp_path_factory.mktemp("long")
    with pytest.MonkeyPatch.context() as patch:
        long_run(folder, patch)
    return folder


def test_each_generator_is_scored_by_a_detector_that_never_saw_it(
    lit: FaceSet, tmp_path: Path
) -> None:
    """Who has not seen HiSD's dark fakes takes them for real; another bright one is found."""
    path = tmp_path / leave_one_out.TABLE
    settings = {"seeds": (0,), "steps": 15, "arms": ("original only",), "frozen": 1}
    table = leave_one_out.leave_one_out(lit, {"test": lit}, path, **settings)
    aucs = leave_one_out.left_out_draws(table, n=0).loc[(0, 0), "original only"]
    assert list(aucs.index) == list(scores.GENERATORS)
    assert aucs["HiSD"] < 0.5 < aucs.drop("HiSD").min()

    stopped = pd.read_csv(path)
    stopped.loc[stopped["left out"] == "HiSD", "original only|0"] = None
    stopped.to_csv(path, index=False)
    assert "original only|0" not in leave_one_out.kept_left_out(tmp_path)
    again = leave_one_out.leave_one_out(lit, {"test": lit}, path, **settings)
    pd.testing.assert_frame_equal(again, table, atol=2e-3)
    assert leave_one_out.kept_left_out(tmp_path).shape == table.shape


def test_one_command_makes_all_that_ships_and_goes_on_where_it_stopped(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, settings = study.kept_study(made / "out")
    assert list(scores.arms_of(kept.scores)) == list(arms.ARMS)
    assert settings["steps"] == 1
    assert not leave_one_out.kept_left_out(made / "out").empty
    trained = []
    for module in (study, leave_one_out):
        monkeypatch.setattr(module, "train", lambda *a: trained.append(a))
    monkeypatch.setattr(corit_study, "train_detector", lambda *a: trained.append(a))
    long_run(made, monkeypatch)
    assert not trained


def left_out_table(quality: dict[str, float]) -> pd.DataFrame:
    """A left-out table whose arms are this good on every generator."""
    one = score_table(quality).query("kind in ['real', 'StarGAN'] and set == 'test'")
    parts = [one.replace({"kind": {"StarGAN": g}}).assign(**{leave_one_out.LEFT: g})
             for g in scores.GENERATORS]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("both", "alone", "word"),
    [(2.0, 1.0, w.HOLDS), (1.0, 2.0, w.PART), (1.0, 1.0, w.NO_EFFECT), (0.2, 1.0, w.NOT)],
)
def test_unseen_generators_are_judged_against_joint_training(
    monkeypatch: pytest.MonkeyPatch, both: float, alone: float, word: str
) -> None:
    quality = {"joint": 1.0, study.SHIPPED: both, "UVS 0.2": 1.0, "conflict descent": alone}
    monkeypatch.setattr(d, "_csdfd", lambda folder: (None, left_out_table(quality)))
    assert d.unseen_generators(E).word == word


def kept(quality: dict[str, float], conflict: float, cosine: float, cost: float) -> study.Study:
    names = {a: quality.get(a, 1.0) for a in arms.ARMS}
    gradients = pd.DataFrame(
        {"arm": ["joint", "conflict descent"] * 3, "seed": [0, 0, 1, 1, 2, 2],
         "cosine": [0.1, 0.1 + cosine] * 3}
    )  # fmt: skip
    seconds = pd.Series({"joint": 1.0, "UVS 0.5": 1.02, study.SHIPPED: cost})
    return study.Study(score_table(names), gradients, probes(conflict, 0.1), seconds, {})


def test_csdfd_rows_follow_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"joint": 0.5, "static 0.25": 0.5, "static 0.75": 0.5, "conflict descent": 1.5}
    judges = (d.joint_training_hurts, d.kinds_conflict, d.uvs_helps, d.less_conflict_generalises,
              d.little_time)  # fmt: skip
    for table, expected in (
        (kept(good, 0.6, 0.3, 1.04), [w.HOLDS] * 5),
        (kept({}, 0.1, 0.0, 1.5), [w.NO_EFFECT] * 4 + [w.PART]),
        (kept({"conflict sought": 0.3}, 0.0, 0.0, 1.5), [w.NO_EFFECT, w.NOT, w.NO_EFFECT, w.PART,
                                                         w.PART]),
    ):  # fmt: skip
        monkeypatch.setattr(d, "_csdfd", lambda folder, table=table: (table, None))
        assert [judge(E).word for judge in judges] == expected


def test_a_difference_off_zero_but_small_is_open() -> None:
    ends = pd.Series({"value": 0.02, "low": 0.01, "high": 0.03})
    assert falsifiers.verdict(ends)["verdict"] == "open"
    assert falsifiers.verdict(ends, 0.01)["verdict"] == "supported"


def corit_tables(trace: float, gsnr_rises: bool, depth: int, cured: bool) -> dict:
    """Tables of a story: the radius at which the trace collapses with the semantic prior, ..."""
    runs, cells = [], []
    radius = {(EDIT, SEMANTIC): 1.0, (EDIT, RANDOM): 0.5, (TRACE, SEMANTIC): trace,
              (TRACE, RANDOM): 1.0, (NOISY, SEMANTIC): trace / 4}  # fmt: skip
    radius |= {(f"other {k}", RANDOM): 0.1 * (k + 1) for k in range(4)}
    for (task, encoder), edge in radius.items():
        for seed in (0, 1, 2):
            cell = {"task": task, "encoder": encoder, "seed": seed}
            runs += [{**cell, "rho": rho, "auc": 0.5 if rho >= edge else 0.9, "weight_norm": 1.0,
                      "train_loss": 0.7 if rho >= edge else 0.1, "collapsed": rho >= edge}
                     for rho in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)]  # fmt: skip
            gsnr = edge + seed / 100 if gsnr_rises else 3 - edge - seed / 100
            cells.append({**cell, "point": edge, "low": edge / 2, "high": edge, "gsnr": gsnr})
    blocks = [{"task": TRACE, "encoder": SEMANTIC, "seed": s, "block": f"block {k}",
               "gsnr": 1 + depth * k} for s in (0, 1) for k in (1, 2, 3)]  # fmt: skip
    rivals = [{"task": TRACE, "encoder": SEMANTIC, "rho": 2.0, "arm": arm, "gsnr": 1.0,
               "collapsed": arm == "SAM" or not cured, "auc": 0.5}
              for arm in ("SAM", "SGD warm start", "norm-only")]  # fmt: skip
    gain = {
        "none": 0.6,
        "all": 0.8 if gsnr_rises else 0.6,
        "all, random mask": 0.6,
        "hierarchy": 0.6,
    }
    parts = [{"arm": arm, "auc": auc} for arm, auc in gain.items()]
    tables = (runs, cells, blocks, rivals, parts)
    return {k: pd.DataFrame(t) for k, t in zip(corit_study.TABLES, tables, strict=True)}


def test_corit_rows_follow_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    judges = (d.sam_collapses, d.prior_collapses, d.radius_rises_with_gsnr, d.gsnr_fades,
              d.gsnr_causes_collapse, d.parts_help)  # fmt: skip
    for tables, expected in (
        (corit_tables(0.2, True, -1, False), [w.HOLDS] * 6),
        (corit_tables(2.0, False, 1, True), [w.PART, w.NOT, w.NOT, w.NOT, w.NOT, w.NOT]),
    ):
        told = tables, corit.all_findings(tables)
        monkeypatch.setattr(d, "_corit", lambda folder, told=told: told)
        assert [judge(E).word for judge in judges] == expected


def test_corits_tables_are_kept_and_its_runs_resumed(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, settings = corit_study.kept_tables(made / "out")
    assert settings["size"] == "smoke"
    assert tuple(found) == corit_study.TABLES
    words = corit.findings_table(corit.all_findings(found).values())["falsified here"]
    assert set(words) <= {"yes", "no", "cannot tell"}
    monkeypatch.setenv("AEF_HOME", str(made / "home"))
    bench, trained = open_bench(SIZES["smoke"]), []
    monkeypatch.setattr(corit_study, "train_detector", lambda *a: trained.append(a))
    runs = corit_study.all_runs(bench, made / "out" / "corit_runs.csv")
    pd.testing.assert_frame_equal(runs, found["runs"])
    assert not trained
