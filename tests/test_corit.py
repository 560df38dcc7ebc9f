"""CoRIT: each part does what its docstring says, on cases with a known answer."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from companion.detectors.corit import falsifiers, pieces
from companion.detectors.corit.clip import ClipEncoder, load_clip
from companion.detectors.corit.contrastive import PretrainConfig, info_nce, pretrain_semantic
from companion.detectors.corit.gsnr import (
    chunk_size,
    corrected,
    curvature,
    gradient_moments,
    gsnr_table,
    predicted_radius,
)
from companion.detectors.corit.parts import parts_table, probe, proxy_fidelity, proxy_table
from companion.detectors.corit.radius import Radius, critical_radius, radius_table
from companion.detectors.corit.sam import SAM, weight_norm
from companion.detectors.corit.tasks import edit_task, trace_task, upsampling_trace
from companion.detectors.corit.training import (
    SamConfig,
    Task,
    auc,
    bce,
    is_collapsed,
    train_detector,
    with_label_noise,
)
from companion.detectors.corit.vit import Detector, ViT, norm_parameters

from .conftest import make_faces, tiny_zoo

BRIGHT = 0.4


def tiny_encoder(seed: int = 0) -> ViT:
    torch.manual_seed(seed)
    return ViT(16, patch=4, dim=12, depth=12, heads=3)


def bright_task(n: int = 32, size: int = 16) -> Task:
    """Fakes are brighter: what any detector can learn."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2).repeat(n // 2)
    images = 0.2 * torch.randn(2, n, 3, size, size, generator=generator)
    images = (images + BRIGHT * (2 * labels - 1).view(1, n, 1, 1, 1)).clamp(-1, 1)
    return Task("bright", images[0], labels, images[1], labels)


def test_sams_second_pass_leaves_batchnorm_statistics_alone() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    after = []
    for rho in (0.0, 0.5):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        sam = SAM(net, torch.optim.SGD(net.parameters(), lr=0.0), rho)
        sam.step(lambda net=net: (net(x) - y).square().mean())
        after.append(net[1])
        assert net[1].track_running_stats
    assert not torch.equal(after[0].running_mean, torch.zeros(4))
    torch.testing.assert_close(after[0].running_mean, after[1].running_mean, rtol=0, atol=0)
    torch.testing.assert_close(after[0].running_var, after[1].running_var, rtol=0, atol=0)
    assert after[1].num_batches_tracked == 1


def test_sam_takes_the_gradient_at_the_worst_point_nearby() -> None:
    # loss w^2 / 2 at w = (3, 4): g = w, e = rho w / 5, so the gradient there is w (1 + rho / 5)
    w = nn.Linear(2, 1, bias=False)
    w.weight.data = torch.tensor([[3.0, 4.0]])
    sam = SAM(w, torch.optim.SGD(w.parameters(), lr=0.1), rho=0.5)
    value = sam.step(lambda: w.weight.square().sum() / 2)
    assert value.item() == 12.5
    torch.testing.assert_close(w.weight.data, torch.tensor([[3.0, 4.0]]) * (1 - 0.1 * 1.1))


def test_asam_scales_its_move_with_the_weights_and_norm_only_moves_norms() -> None:
    moves = []
    for scale in (1.0, 10.0):
        w = nn.Linear(2, 1, bias=False)
        w.weight.data = scale * torch.tensor([[3.0, 4.0]])
        sam = SAM(w, torch.optim.SGD(w.parameters(), lr=0.0), 0.5, adaptive=True)
        w.weight.grad = torch.tensor([[1.0, 1.0]]) / scale
        moves.append(sam.ascent()[0])
    torch.testing.assert_close(moves[1], 10 * moves[0], rtol=0.02, atol=0)
    detector = Detector(tiny_encoder())
    inside = {id(p) for p in norm_parameters(detector)}
    names = [n for n, p in detector.named_parameters() if id(p) in inside]
    assert len(names) == 2 * (12 * 2 + 1)  # two a block, and the last
    assert not any("mlp" in n or "qkv" in n or "head" in n for n in names)


def test_info_nce_is_log_b_for_no_knowledge_and_learns_a_toy() -> None:
    assert info_nce(torch.ones(8, 4), torch.ones(8, 4)).item() == pytest.approx(math.log(8))
    task = bright_task()
    attributes = torch.stack((task.labels, 1 - task.labels), dim=1)
    encoder = tiny_encoder()
    losses = pretrain_semantic(
        encoder, task.images, attributes, PretrainConfig(steps=40, batch=16, embedding=8)
    )
    # two kinds of attributes: among 16 images about 8 share them, so log 8 is the best there is
    assert np.mean(losses[:3]) > 2.5
    assert np.mean(losses[-5:]) < 2.25
    features = encoder(task.val_images).detach()
    own = torch.nn.functional.normalize(features - features.mean(dim=0), dim=-1)
    same = (task.val_labels[:, None] == task.val_labels[None]) & ~torch.eye(32, dtype=torch.bool)
    assert (own @ own.T)[same].mean() > 0.5


def test_gsnr_of_a_linear_model_is_known() -> None:
    """At logit 0 the gradient on w is (1/2 - y) x: for y = 0 and x = mean + noise it is x / 2."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 1, bias=False)
            nn.init.zeros_(self.head.weight)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(images.flatten(1)).squeeze(-1)

    generator = torch.Generator().manual_seed(0)
    mean, n = torch.tensor([2.0, 0.5, 0.0]), 4000
    x = mean + torch.randn(n, 3, generator=generator)
    model, labels = Linear(), torch.zeros(n)
    moments = gradient_moments(model, x, labels, chunk=700)
    assert moments.samples == n
    name = "head.weight"
    value = corrected(moments.mean[name], moments.variance[name], n)[0]
    assert value.tolist() == pytest.approx([4.0, 0.25, 0.0], abs=0.15)
    table = gsnr_table(moments)
    assert table.loc["head", "gsnr"] == pytest.approx(4.25 / 3, rel=0.05)
    # without a signal nothing is left of the floor 1 / B, which the naive estimate has
    noise = gradient_moments(model, x[:64] - x[:64].mean(dim=0), labels[:64])
    assert gsnr_table(noise).loc["all", "gsnr"] == 0


def test_per_sample_gradients_average_to_the_batchs_in_any_chunk() -> None:
    task, detector = bright_task(8), Detector(tiny_encoder())
    small, whole = (gradient_moments(detector, task.images, task.labels, c) for c in (3, 8))
    bce(detector, task.images, task.labels.float()).backward()
    for name, p in detector.named_parameters():
        torch.testing.assert_close(whole.mean[name].float(), p.grad, atol=1e-6, rtol=1e-3)
        torch.testing.assert_close(small.variance[name], whole.variance[name])
    blocks = list(gsnr_table(whole).index)
    assert blocks == ["embed", *(f"block {k}" for k in range(1, 13)), "head", "all"]
    size = sum(p.numel() for p in detector.parameters()) * 4
    assert chunk_size(detector, memory=4 * size * 7) == 7
    assert chunk_size(detector, memory=1) == 1


def test_curvature_of_a_quadratic_and_the_radius_it_predicts() -> None:
    detector = Detector(tiny_encoder())
    task, before = bright_task(8), [p.clone() for p in detector.parameters()]
    assert curvature(detector, task, 0.01, torch.arange(8)) > 0
    for p, q in zip(detector.parameters(), before, strict=True):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)
    assert predicted_radius(gsnr=0.25, noise=4.0, curvature=2.0) == 0.5
    assert predicted_radius(0.25, 4.0, 0.0) == float("inf")


def curve(*collapsed: bool) -> pd.DataFrame:
    radii = (0.0, 0.1, 0.2, 0.4)[: len(collapsed)]
    return pd.DataFrame(
        {"rho": r, "auc": 0.5 if c else 0.9, "train_loss": 0.693 if c else 0.2, "seed": 0,
         "weight_norm": 4.0, "task": "t"} for r, c in zip(radii, collapsed, strict=True)
    )  # fmt: skip


def test_critical_radius_of_synthetic_curves() -> None:
    assert critical_radius(curve(False, False, True, True)) == Radius(0.1, 0.2)
    assert critical_radius(curve(False, True, False, True)) == Radius(0.0, 0.1, returns=True)
    assert critical_radius(curve(False, False)) == Radius(0.1, float("inf"))
    assert math.isnan(critical_radius(curve(True, True)).low)
    assert Radius(0.1, 0.4).point == pytest.approx(0.2)
    assert Radius(0.0, 0.4).point == 0.2
    table = radius_table(
        pd.concat((curve(False, False, True), curve(False, True, True).assign(seed=1))), ["task"]
    )
    assert table.loc[0, ["low", "high", "seeds"]].tolist() == [0.0, 0.2, 2]
    assert table.loc[0, "point / |w|"] == pytest.approx(table.loc[0, "point"] / 4)
    with pytest.raises(ValueError, match="missing: \\['auc'\\]"):
        critical_radius(curve(True).drop(columns="auc"))


def test_collapse_needs_chance_in_both_and_auc_counts_pairs() -> None:
    assert is_collapsed(0.5, 0.69)
    assert not is_collapsed(0.5, 0.1)  # overfitted, not collapsed
    assert is_collapsed(0.9, float("nan"))
    assert auc(torch.tensor([0.1, 0.4, 0.35, 0.4]), torch.tensor([0, 0, 1, 1])) == 0.625
    assert auc(torch.tensor([float("nan"), 0.0]), torch.tensor([0, 1])) == 0.5


def test_a_detector_learns_at_rho_0_and_collapses_at_a_huge_radius() -> None:
    task = bright_task()
    config = SamConfig(rho=0, steps=25, batch=16, lr=2e-3, optimiser="adam")
    learnt = train_detector(Detector(tiny_encoder()), task, config)
    assert learnt.auc > 0.95
    assert not learnt.collapsed
    huge = SamConfig(rho=1e4, steps=25, batch=16, lr=2e-3, optimiser="adam")
    far = train_detector(Detector(tiny_encoder()), task, huge)
    assert far.train_loss > learnt.train_loss
    assert learnt.weight_norm == pytest.approx(weight_norm(Detector(tiny_encoder()).parameters()),
                                               rel=0.05)  # fmt: skip
    noisy = with_label_noise(task, 0.5)
    assert 0.1 < (noisy.labels != task.labels).float().mean() < 0.4
    assert noisy.images is task.images


def test_masks_keep_what_they_say_and_injection_touches_only_masked_patches() -> None:
    relevance, middle = torch.zeros(2, 16), [5, 6, 9, 10]
    relevance[:, middle] = 5.0
    mask = pieces.region_mask(relevance, keep=0.25)
    assert mask.sum(dim=1).tolist() == [4, 4]
    assert mask[:, middle].all()
    encoder, images = tiny_encoder(), bright_task(2).images
    plain = encoder.tokens(images)
    edit = pieces.inject(mask, pieces.Injection(alpha=0.1), torch.Generator())
    taps = encoder.tokens(images, edit)
    torch.testing.assert_close(taps[4], plain[4], rtol=0, atol=0)
    change = (taps[5] - plain[5])[:, 1:].norm(dim=-1)
    assert (change[mask] > 0).all()
    assert (change[~mask] == 0).all()
    source = plain[2][:, 1:]
    scale = plain[5][:, 1:].norm(dim=(1, 2)) / source.norm(dim=(1, 2))
    expected = 0.1 * scale[0] * source[0][mask[0]]
    torch.testing.assert_close((taps[5] - plain[5])[0, 1:][mask[0]], expected, atol=1e-5, rtol=1e-4)
    assert pieces.hierarchy(taps).shape == (2, 4 * 12)


def test_the_proxys_gradient_is_that_of_the_margin() -> None:
    encoder, task = tiny_encoder(), bright_task(8)
    direction = pieces.class_direction(encoder, task.images, task.labels)
    relevance, gradient = pieces.contrastive_proxy(encoder, task.images, direction, block=12)
    assert relevance.shape == (8, 16)
    # patches of the last block do not reach the class token any more
    assert gradient.abs().max() == 0
    _, gradient = pieces.contrastive_proxy(encoder, task.images, direction, block=3)
    step = 1e-2
    taps = {}

    def nudged(number: int, tokens: torch.Tensor, before: list) -> torch.Tensor:
        if number != 3:
            return tokens
        return torch.cat((tokens[:, :1], tokens[:, 1:] + taps["step"]), dim=1)

    def margin(sign: int) -> torch.Tensor:
        taps["step"] = sign * step * gradient / gradient.norm()
        v = encoder.read(encoder.tokens(task.images, nudged))
        return (torch.nn.functional.normalize(v, dim=-1) @ direction).sum()

    slope = (margin(1) - margin(-1)) / (2 * step)
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=0.05)


def test_the_parts_are_judged_beside_their_controls() -> None:
    task, encoder = bright_task(), tiny_encoder()
    table = parts_table(encoder, {"bright": task}, ("none", "all", "all, random mask"))
    assert table["auc"].between(0, 1).all()
    assert table.loc[table["arm"] == "all", "auc"].item() > 0.95
    assert proxy_table(encoder, task).shape == (6, 2)
    detector = Detector(encoder)
    train_detector(detector, task, SamConfig(rho=0, steps=5, batch=8))
    assert set(proxy_fidelity(detector, task, batch=8).index) == {"proxy", "shuffled", "ahead"}
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert auc(probe(x, (x[:, 0] > 0).long(), x), (x[:, 0] > 0).long()) > 0.97


def test_tasks_pair_every_photograph_with_its_forgery() -> None:
    train, val = make_faces(6), make_faces(4, seed=1)
    trace = trace_task(train, val, strength=0.05)
    change = trace.images[6:] - trace.images[:6]
    torch.testing.assert_close(change[:, :, 0].abs().amax(), torch.tensor(0.05))
    # a mirrored photograph carries the same trace: augmentation does not undo it
    mirrored = upsampling_trace(train.images.flip(-1), 0.05)
    torch.testing.assert_close(mirrored, trace.images[6:].flip(-1))
    zoo = tiny_zoo()
    edited = edit_task(zoo, train, val, "Blond_Hair")
    assert edited.labels.tolist() == [0] * 6 + [1] * 6
    first = next(m for m in zoo.values() if "Blond_Hair" in m.edits)
    c = first.conditions(train.attributes[:1], "Blond_Hair")
    torch.testing.assert_close(edited.images[6:7], first(train.images[:1], c), atol=1e-4, rtol=1e-3)


class FakeVisual(nn.Module):
    """The parts of `open_clip`'s VisionTransformer that the loader uses, at width 12."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        inner = tiny_encoder()
        self.inner, self.ln_post = inner, nn.LayerNorm(12)
        self.proj = nn.Parameter(torch.randn(12, 5))
        self.transformer = nn.Module()
        self.transformer.batch_first = batch_first
        layers = inner.blocks if batch_first else [Swapped(b) for b in inner.blocks]
        self.transformer.resblocks = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.inner.cls + x[:, :1], x), dim=1) + self.inner.position
        swap = not self.transformer.batch_first
        x = x.transpose(0, 1) if swap else x
        for block in self.transformer.resblocks:
            x = block(x)
        x = x.transpose(0, 1) if swap else x
        return self.ln_post(x[:, 0]) @ self.proj


class Swapped(nn.Module):
    """A block of older versions of `open_clip`, tokens first."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x.transpose(0, 1)).transpose(0, 1)


@pytest.mark.parametrize("batch_first", [True, False])
def test_clips_wrapper_has_the_encoders_interface(batch_first: bool) -> None:
    torch.manual_seed(0)
    visual = FakeVisual(batch_first)
    encoder = ClipEncoder(visual, image_size=16)
    images = bright_task(4, size=32).images
    assert encoder.prepared(images).shape == (4, 3, 16, 16)
    taps = encoder.tokens(images)
    assert [tuple(t.shape) for t in taps] == [(4, 17, 12)] * 12
    torch.testing.assert_close(encoder(images), visual(encoder.prepared(images)))
    lifted = encoder.tokens(images, lambda k, x, _: x + 1.0 if k == 12 else x)
    torch.testing.assert_close(lifted[-1], taps[-1] + 1)
    assert not any(b._forward_hooks for b in visual.transformer.resblocks)
    direction = pieces.class_direction(encoder, images, torch.tensor([0, 1, 0, 1]))
    assert pieces.contrastive_proxy(encoder, images, direction)[0].shape == (4, 16)
    assert Detector(encoder).score(images).shape == (4,)


def test_clip_weights_load_where_open_clip_is(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    name, path, broken = "ViT-S-32", tmp_path / "clip.pt", tmp_path / "text.pt"
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    torch.save(model.state_dict(), path)
    encoder = load_clip(path, name)
    images = bright_task(2, size=64).images
    torch.testing.assert_close(encoder(images), model.visual(encoder.prepared(images)))
    direction = pieces.class_direction(encoder, images, torch.tensor([0, 1]))
    assert pieces.taps_with(encoder, images, direction, pieces.Injection())[-1].shape[0] == 2
    broken.write_text("no weights")
    for wrong in (
        lambda: load_clip(path, "ViT-X-99"),
        lambda: load_clip(path, "ViT-S-16"),
        lambda: load_clip(broken, name),
    ):
        with pytest.raises(ValueError) as told:
            wrong()
        assert "\n" not in str(told.value)


def test_label_falsifiers_tell_yes_no_and_cannot_tell() -> None:
    def radii(kind: str, *rows: tuple) -> pd.DataFrame:
        return pd.DataFrame([dict(zip((kind, "low", "high"), r, strict=True)) for r in rows])

    inf, nan = float("inf"), float("nan")
    tasks = falsifiers.tasks_collapse_alike
    assert tasks(radii("task", ("s", 0.5, inf), ("n", 0.1, 0.2)), "s", "n").falsified is False
    assert tasks(radii("task", ("s", 0.1, 0.2), ("n", 0.1, 0.2)), "s", "n").falsified is True
    assert tasks(radii("task", ("s", 0.1, 0.2), ("n", 0.5, inf)), "s", "n").falsified is True
    assert tasks(radii("task", ("s", nan, nan), ("n", 0.5, inf)), "s", "n").falsified is None
    start = falsifiers.random_start_collapses_alike
    assert start(radii("encoder", ("a", 0.1, 0.2), ("b", 0.1, 0.2)), "a", "b").falsified is True
    assert start(radii("encoder", ("a", 0.1, 0.2), ("b", 0.2, 0.5)), "a", "b").falsified is False
    assert start(radii("encoder", ("a", 0.2, 0.5), ("b", 0.1, 0.2)), "a", "b").falsified is True

    cells = pd.DataFrame({"point": np.arange(8.0), "gsnr": np.arange(8.0) ** 2, "seed": 0})
    assert falsifiers.radius_does_not_rise(cells).falsified is False
    assert falsifiers.radius_does_not_rise(cells.assign(gsnr=-cells["gsnr"])).falsified is True
    assert falsifiers.radius_does_not_rise(cells[:5]).falsified is None
    two = pd.concat((cells, cells.assign(seed=1, gsnr=-cells["gsnr"])))
    ends, count = falsifiers.rank_over_seeds(two, "point")
    assert (ends["value"], count) == (0, 8)
    assert -1 < ends["low"] < -0.99 and 0.99 < ends["high"] < 1

    noise = pd.DataFrame({"task": ["c", "n"], "low": [0.1, 0.1], "high": 0.2, "gsnr": [1.0, 0.2]})
    assert falsifiers.noise_leaves_the_radius(noise, "c", "n").falsified is True
    assert falsifiers.noise_leaves_the_radius(noise.assign(gsnr=1.0), "c", "n").falsified is None
    rises, falls = (
        noise.assign(high=[0.2, 0.9], low=[0.1, 0.5]),
        noise.assign(low=[0.2, 0.1], high=[0.5, 0.2]),
    )
    assert falsifiers.noise_leaves_the_radius(rises, "c", "n").falsified is True
    assert falsifiers.noise_leaves_the_radius(falls, "c", "n").falsified is False
    names = [f"block {k}" for k in (1, 2, 10)]
    falling = pd.DataFrame({"block": names, "gsnr": [3.0, 2.0, 1.0], "seed": 0})
    assert falsifiers.gsnr_keeps_with_depth(falling).falsified is False
    assert falsifiers.gsnr_keeps_with_depth(falling.assign(gsnr=[1, 2, 3])).falsified is True


def test_rival_and_part_falsifiers() -> None:
    rivals = pd.DataFrame(
        {"arm": ["SAM", "warm"], "collapsed": [True, False], "auc": [0.5, 0.9], "gsnr": [1.0, 1.1]}
    )
    rival = falsifiers.rival_removes_the_collapse
    assert rival(rivals, "warm").falsified is True
    assert rival(rivals.assign(gsnr=[1.0, 5.0]), "warm").falsified is False
    assert rival(rivals.assign(collapsed=False), "warm").falsified is None
    assert rival(rivals.assign(gsnr=0.0), "warm").falsified is None
    parts = pd.DataFrame({"arm": ["none", "mask", "random"], "auc": [0.6, 0.8, 0.61]})
    gain = falsifiers.random_parts_gain_alike
    assert gain(parts, "mask", ["random"]).falsified is False
    assert gain(parts.assign(auc=[0.6, 0.8, 0.79]), "mask", ["random"]).falsified is True
    table = falsifiers.findings_table([rival(rivals, "warm"), gain(parts, "mask", ["random"])])
    assert table["falsified here"].tolist() == ["yes", "no"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: ViT(60, patch=8), "patch 8 does not tile images of 60 pixels"),
        (lambda: ViT(64, patch=8, dim=50, heads=3), "3 heads do not divide"),
        (lambda: ViT(60, patch=12), "power of two"),
        (lambda: tiny_encoder()(torch.zeros(1, 3, 32, 32)), "resize them"),
        (lambda: SAM(nn.Linear(1, 1), None, -1.0), "rho must be finite and at least 0, got -1.0"),
        (lambda: SamConfig(warm_start=2), "share of the steps"),
        (lambda: SamConfig(optimiser="sdg"), "known: sgd, adam"),
        (lambda: with_label_noise(bright_task(4), 1.5), "lies in 0 to 1"),
        (lambda: info_nce(torch.ones(1, 2), torch.ones(1, 2)), "at least 2 pairs"),
        (lambda: pieces.Injection(mask="best"), "known: proxy or random"),
        (lambda: pieces.Injection(keep=0), "share of the patches"),
        (lambda: pieces.region_mask(torch.zeros(1, 15)), "no square grid"),
        (lambda: upsampling_trace(torch.zeros(1, 3, 8, 8), 2), "lies in 0 to 1, got 2"),
        (lambda: edit_task(tiny_zoo(), make_faces(4), make_faces(4), "Hat"), "no generator offers"),
        (lambda: ClipEncoder(nn.Linear(1, 1), 16), "no transformer, ln_post, proj"),
        (lambda: load_clip("nowhere.pt"), "no file of CLIP weights"),
        (lambda: Task("t", *[torch.zeros(2)] * 4), "needs both labels"),
    ],
)
def test_bad_input_is_one_line_that_names_the_culprit(broken, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        broken()
    assert "\n" not in str(raised.value)
