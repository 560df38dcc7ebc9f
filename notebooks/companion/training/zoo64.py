"""How the four shipped generators of 64 pixels were trained."""

from aef_core.models import HAIR_COLOURS
from aef_core.models.hisd import OFFICIAL_TAGS
from companion.training.recipes import CONSTANT_RATE, Phase, TrainingConfig

ZOO64 = {
    # StarGAN repaints every pixel through instance norms that forget colours: without a long
    # warm-up and a heavier cycle than the published 10 it stays far from its input for hours.
    "StarGAN": TrainingConfig(
        "StarGAN",
        {"width": 24, "blocks": 3, "image_size": 64},
        iterations=4800,
        phases=(
            Phase(0, 3e-4, 20.0),
            Phase(1400, 4e-4, 40.0),
            Phase(1700, 2e-4, 40.0),
            Phase(3000, 3e-4, 40.0),
            Phase(3950, 4e-4, 12.0, adversarial=1.5, attribute=1.5),
            Phase(4000, 5e-4, 10.0, adversarial=1.5, attribute=2.0, critic_pace=2.0),
        ),
        warmup=1500,
    ),
    "AttentionGAN": TrainingConfig(
        "AttentionGAN",
        {"width": 24, "blocks": 3, "image_size": 64},
        iterations=8000,
        phases=(
            # bold edits first, then a heavy cycle that has to hide what they destroy; at last an
            # identity loss, at which edits get tidier and surer, and the generator less fragile
            Phase(0, 5e-4, 0.0, 1.0, 1.5, critic_pace=2.0, identity=10.0, openness=2.0),
            Phase(1500, 5e-4, 10.0, 1.5, 2.0, critic_pace=2.0, openness=5.0),
            Phase(2700, 5e-4, 30.0, 1.5, 2.0, critic_pace=2.0, openness=5.0),
            Phase(4700, 5e-4, 15.0, 1.5, 4.0, critic_pace=2.0, openness=5.0),
            Phase(5700, 4e-4, 15.0, 1.5, 7.0, critic_pace=2.0, openness=5.0),
            Phase(6300, 4e-4, 15.0, 1.5, 12.0, critic_pace=2.0, openness=5.0),
            Phase(7100, 4e-4, 10.0, 2.5, 11.0, critic_pace=2.0, identity=8.0, openness=2.0),
        ),
        warmup=800,
        ship_average=True,
    ),
    "AttGAN": TrainingConfig(
        "AttGAN",
        {
            "attributes": ("Bangs", *HAIR_COLOURS, "Eyeglasses", "Male", "Young"),
            "width": 40,
            "layers": 4,
            "image_size": 64,
        },
        iterations=4000,
        phases=(
            Phase(0),
            Phase(900, 4e-4, adversarial=1.5, attribute=2.0, critic_pace=2.0),
            Phase(2000, 4e-4, adversarial=1.5, attribute=3.0, critic_pace=2.0),
            Phase(2700, 4e-4, adversarial=1.5, attribute=5.0, critic_pace=2.0),
            Phase(3300, 4e-4, adversarial=1.5, attribute=9.0, critic_pace=2.0),
        ),
        batch=16,
        ship_average=True,
    ),
    "HiSD": TrainingConfig(
        "HiSD",
        {
            "tags": OFFICIAL_TAGS,
            "width": 20,
            "downs": 1,  # codes of 32x32, as the official network has at 128 pixels
            "blocks": 4,
            "extractor_width": 12,
            "extractor_downs": 5,
            "style_dim": 64,
            "noise_dim": 16,
            "mapper_width": 64,
            "image_size": 64,
        },
        iterations=2900,
        phases=(
            # never a loss on unedited faces, which protects StarGAN; and a rate that stays high:
            # of a branch in which it fell to zero, half of the fragility was left
            Phase(0, 5e-4, 10.0, 1.5, 2.0, critic_pace=2.0),
            Phase(2400, 5e-4, 20.0, 1.5, 4.0, critic_pace=2.0),
        ),
        batch=12,  # six to edit, six that show the target
        warmup=300,
        decay_from=CONSTANT_RATE,
    ),
}
