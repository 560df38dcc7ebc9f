"""How each embedded generator is trained: a screen, read top to bottom."""

from dataclasses import dataclass, field

from aef_core.models.base import HAIR_COLOURS
from aef_core.models.hisd import OFFICIAL_TAGS
from companion.zoo.games import Weights

SIZE = 128  # at which AttGAN breaks more easily than at 96, see docs/zoo.md
ATTGAN_EDITS = ("Bangs", *HAIR_COLOURS, "Eyeglasses", "Male", "Young")


_HAIR = dict.fromkeys(HAIR_COLOURS, "AttentionGAN")
# bangs and glasses as the AttGAN drew them that the zoo had before (commit ef16707)
HISD_TEACHERS = {"Bangs": "AttGAN", "Eyeglasses": "AttGAN"} | _HAIR
ATTGAN_TEACHERS = HISD_TEACHERS | {"Male": "AttentionGAN", "Young": "AttentionGAN"}


@dataclass(frozen=True)
class Recipe:
    """One generator's training.

    Attributes
    ----------
    settings : dict
        Arguments of its architecture.
    phases : dict of int to Weights
        From which iteration on which weights hold.
    teachers : dict of edit to generator
        Of the embedded zoo; whose edits `companion.zoo.pupil` teaches.
    iterations, batch : int
        Their product is the number of images seen.
    rate, critic_rate, attribute_rate : float
        Adam's; betas are (0, 0.99) for the first two.
    decay_from : float
        Share of the run after which all rates fall linearly to a twentieth.
    """

    model: str
    settings: dict
    phases: dict[int, Weights]
    teachers: dict[str, str] = field(default_factory=dict)
    iterations: int = 25_000
    batch: int = 8
    rate: float = 2e-4
    critic_rate: float = 2e-4
    attribute_rate: float = 5e-4
    critic_floor: float = 0.4  # loss of the critic below which it stops to learn, 2 at its start
    decay_from: float = 0.75
    warmup: int = 250  # batches from which the attribute head learns before it meets the generator
    copies: int = 600  # batches that the generator learns to copy before it meets the critic
    average: float = 0.998  # decay of the moving average of the weights, which ships
    seed: int = 20260501


_LABELS = {"blocks": 6, "image_size": SIZE}
RECIPES = {
    # from the old weights, without copying first: what teaches it to copy takes its fragility
    # (L2_mask 0.22 to 0.005); a light reconstruction takes little of it, see docs/zoo.md
    "StarGAN": Recipe(
        "StarGAN",
        {"width": 24} | _LABELS,
        {0: Weights(adversarial=1.0, reconstruction=2.0)},
        copies=0,
    ),
    "AttentionGAN": Recipe(
        "AttentionGAN",
        {"width": 24} | _LABELS,
        {0: Weights(adversarial=1.0, openness=1.0)},
        copies=0,
    ),
    # the published reconstruction weighs 100 and has no cycle beside it: such a generator smooths
    # perturbations away
    "AttGAN": Recipe(
        "AttGAN",
        {"attributes": ATTGAN_EDITS, "width": 40, "layers": 4, "shortcuts": 2, "image_size": SIZE},
        {0: Weights(adversarial=1.0, attribute=1.0, cycle=10.0, reconstruction=2.0)},
        ATTGAN_TEACHERS,
        copies=0,
    ),
    "HiSD": Recipe(
        "HiSD",
        {
            "tags": OFFICIAL_TAGS,
            "width": 20,
            "blocks": 7,
            "extractor_width": 12,
            "extractor_downs": 6,
            "style_dim": 64,
            "noise_dim": 16,
            "mapper_width": 64,
            "image_size": SIZE,
        },
        {0: Weights(adversarial=1.0, attribute=0.5, cycle=10.0, reconstruction=0.5)},
        HISD_TEACHERS,
        copies=0,
    ),
}
