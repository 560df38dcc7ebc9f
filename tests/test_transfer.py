"""Leave-one-out, the floor, the shares; and the generator of another family."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt

from aef_core.faces import load_faces
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluation import evaluate_run
from aef_core.perturbation import PerturbationConfig
from aef_core.runs import optimize
from companion import plots
from companion.studies import transfer
from companion.studies.references import outputs_alone, single_model
from companion.studies.unseen import VAE, load_unseen, unseen_table
from companion.training.train_vae import attribute_vectors, edit_quality, loss_of, train

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=2, step_size=0.02, batch=4)
ENTRIES = {k: transfer.ENTRIES[k] for k in ("averaging", "grad-norm", "max-min (ours)")}
TINY = {"width": 4, "layers": 2, "latent": 3, "inner": 32, "image_size": 32}


def two() -> dict:
    return {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEF_HOME", str(tmp_path_factory.mktemp("home")))
        zoo, train_faces = two(), make_faces()
        judge = Evaluator(zoo, make_faces(4, seed=1))
        alone = single_model(zoo, train_faces, outputs_alone(CONFIG))
        whole = transfer.on_all(zoo, train_faces, CONFIG, alone, (0, 1), ENTRIES)
        table = transfer.leave_one_out(judge, train_faces, CONFIG, alone, whole, ENTRIES)
        left_out = {
            left: transfer.optimize_entry(
                ENTRIES["grad-norm"], {k: m for k, m in zoo.items() if k != left},
                train_faces, CONFIG, alone,
            )
            for left in zoo
        }  # fmt: skip
        coins = {
            (transfer.RANDOM, seed): optimize(
                zoo, train_faces, transfer.RANDOM, replace(CONFIG, seed=seed), progress=False
            )
            for seed in (0, 1)
        }
        random = pd.concat(
            evaluate_run(run, judge).assign(method=method, seed=seed, role=transfer.OUTSIDE)
            for (method, seed), run in coins.items()
        )
    return judge, whole | coins, pd.concat([table, random], ignore_index=True), left_out


def test_a_fold_never_sees_the_generator_it_is_judged_on(folds) -> None:
    judge, whole, table, left_out = folds
    assert set(whole) == {(m, s) for m in (*ENTRIES, transfer.RANDOM) for s in (0, 1)}
    for left, run in left_out.items():
        assert list(run.config["zoo"]) == [k for k in judge.zoo if k != left]
        expected = judge(run.delta).query("model == @left")["l2_mask"].to_numpy()
        rows = table.query("method == 'grad-norm' and role == @transfer.OUTSIDE and model == @left")
        assert rows["l2_mask"].to_numpy() == pytest.approx(expected, nan_ok=True)
    inside = table[table["role"] == transfer.INSIDE]
    assert set(inside["model"]) == set(judge.zoo)


def test_grad_norm_is_judged_on_outputs_as_the_methods_are(folds) -> None:
    run = folds[1]["grad-norm", 0]
    assert run.config["loop"]["feature_weight"] == 0
    assert run.history["strength"].to_numpy() == pytest.approx(run.history["output_mse"].to_numpy())


def test_references_go_with_the_generators_that_are_left(folds) -> None:
    whole = folds[1]["max-min (ours)", 1]
    assert len(whole.config["settings"]["single_model"]) == 2


def test_shares_and_balance_are_the_plain_ratios(folds) -> None:
    table = folds[2]
    means = table[~table["excluded"]].groupby(["method", "role", "model"])["l2_mask"].mean()
    first = table[(table["method"] == transfer.RANDOM) & (table["seed"] == 0) & ~table["excluded"]]
    floor = first.groupby("model")["l2_mask"].mean()  # paired on the seed of the folds
    shares = transfer.shares_left(table).set_index(["method", "model"])
    for (method, model), row in shares.iterrows():
        inside, outside = (means[method, r, model] for r in (transfer.INSIDE, transfer.OUTSIDE))
        assert (row["inside"], row["outside"]) == pytest.approx((inside, outside))
        if np.isfinite(row["share"]):  # inside is clearly above random
            least = floor[model]
            assert row["share"] == pytest.approx((outside - least) / (inside - least))
            assert row["low"] <= row["share"] <= row["high"]
    assert shares["share"].notna().any()
    even = transfer.balance_in_and_out(table)
    for (method, role), row in even.iterrows():
        level = means[method, role]
        assert row["min"] == pytest.approx(level.min())
        lift = level - floor
        assert row["worst / best"] == pytest.approx(max(lift.min(), 0) / lift.max())
        assert row["min_low"] <= row["min"] <= row["min_high"] + 1e-9


def test_the_floor_is_a_coin_at_the_bound(folds) -> None:
    judge, whole, table, _ = folds
    pattern = whole[transfer.RANDOM, 0].delta
    assert pattern.shape == (1, 3, 32, 32)
    assert pattern.unique().tolist() == pytest.approx([-0.05, 0.05])
    assert abs(pattern.mean()) < 0.005
    floor = table[table["method"] == transfer.RANDOM]
    assert floor["l2_mask"].dropna().gt(0).all()
    levels = transfer.unseen_levels(whole, judge)
    random = levels[levels["method"] == transfer.RANDOM]
    assert random["over_floor"].abs().max() == 0
    assert transfer.RANDOM not in transfer.clearly_above(levels)
    one = levels[levels["model"] == "StarGAN"]
    least = floor.groupby("model")["l2_mask"].mean()
    shares = transfer.shares_left(table)
    assert plots.transfer.over_floor(one).axes
    assert len(plots.transfer.in_and_out(shares, least, 2 * least).axes) == 2
    assert len(plots.transfer.evenness(transfer.balance_in_and_out(table)).axes) == 2
    plt.close("all")


def test_the_vae_walks_along_its_vectors() -> None:
    torch.manual_seed(0)
    model = VAE(**TINY).eval().requires_grad_(False)
    faces = make_faces(4)
    c = model.conditions(faces.attributes, "Male")
    assert torch.equal(model(faces.images, c), model(faces.images, 0 * c))  # no vectors yet
    model.vectors.normal_()
    code = model.posterior(faces.images)[0]
    walked = model.generate(code + torch.einsum("ba,alhw->blhw", c, model.vectors))
    assert torch.allclose(model(faces.images, c), walked)
    assert torch.allclose(model(faces.images, 0 * c), model.generate(code))
    flipped = model.strength * (1 - 2 * faces.attributes[:, 7].float())
    assert torch.equal(c[:, 7], flipped)
    with pytest.raises(ValueError, match="VAE has no edit 'Bald'"):
        model.conditions(faces.attributes, "Bald")


def test_larger_faces_are_reduced_for_the_vae_and_its_forgeries_enlarged() -> None:
    torch.manual_seed(0)
    model = VAE(**TINY | {"image_size": 64}).eval().requires_grad_(False)
    faces = make_faces(2, size=64)
    c = model.keep_condition(faces.images, faces.attributes)
    small = F.interpolate(faces.images, size=(32, 32), mode="bilinear", antialias=True)
    enlarged = F.interpolate(model(small, c), size=(64, 64), mode="bilinear", antialias=True)
    assert torch.allclose(model(faces.images, c), enlarged, atol=1e-6)


def test_attribute_vectors_recover_a_planted_effect() -> None:
    torch.manual_seed(1)
    model, faces = VAE(**TINY).eval().requires_grad_(False), make_faces(200)
    truth = torch.randn_like(model.vectors)
    planted = torch.einsum("ba,alhw->blhw", faces.attributes.float(), truth)
    model.posterior = _in_order(planted)
    found = attribute_vectors(model, faces)
    assert torch.allclose(found, truth, atol=0.2)  # a ridge of one face in 200


def _in_order(codes: torch.Tensor):
    parts = iter(codes.split(256))
    return lambda x: (next(parts), None)


def test_training_the_vae_lowers_its_loss_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    from companion.training import train_vae

    monkeypatch.setattr(train_vae, "SETTINGS", TINY)
    faces = make_faces(32)
    before = loss_of(VAE(**TINY), faces.images)[1].item()
    once = train(faces, tmp_path / "once", steps=12, every=6)
    assert loss_of(once, faces.images)[1].item() < before

    class Stop(Exception):
        pass

    def stop(*paths: Path) -> None:
        os.rename(*paths)
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(os, "replace", stop)
        train(faces, tmp_path / "twice", steps=12, every=6)
    assert torch.load(tmp_path / "twice" / "vae.ckpt", weights_only=True)[-1] == 6
    twice = train(faces, tmp_path / "twice", steps=12, every=6).state_dict()
    assert [k for k, v in once.state_dict().items() if not torch.equal(v, twice[k])] == []


def test_the_embedded_vae_edits() -> None:
    """The bar of its edits; its numbers on CelebA are in its table."""
    unseen = load_unseen("cpu")
    assert list(unseen) == ["VAE"]
    record = unseen_table()["VAE"]["training"]["celeba_test"]
    assert record["edit success"] >= 0.8
    quality = edit_quality(unseen["VAE"], load_faces("embedded", "test", n=24))
    assert quality["edit success"] >= 0.6
    assert quality["reconstruction PSNR"] > 15


def test_other_faces_are_refused(folds) -> None:
    judge, whole = folds[:2]
    with pytest.raises(ValueError, match="faces are in both sets"):
        transfer.leave_one_out(
            judge, replace(judge.faces), CONFIG, {}, whole, {"averaging": ENTRIES["averaging"]}
        )
