"""The DWT baseline: a perturbation in the wavelet bands of the two chroma channels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aef_core.methods.base import OUTPUTS_ALONE, Method, refuse_budget
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.budgets import ChromaWavelet
from aef_core.perturbation.objective import Problem


@dataclass
class DWT(Method):
    """Chroma only, wavelet band by wavelet band, with the paper's threshold weights.

    Formula: theta holds one Haar level of Cb and Cr; delta = RGB(0, IWT(theta_cb), IWT(theta_cr));
    coefficients clipped at 0.8 eps, delta at eps (see `budgets.ChromaWavelet`).
    Source: Huang, Chen et al. (JCADCG, doi 10.3724/SP.J.1089.2024-00316), code
    github.com/imagecbj/Proactive-Defense-Against-Facial-Editing-in-DWT. Paper settings: one Haar
    level, chroma clipped at 0.02 of [0, 1], threshold 20 dB, every 5 epochs.

    Departs from the paper: one universal theta from the common loop and box stands for a U-Net
    with a critic and saliency map, which makes one perturbation per image; its clip alone would
    allow 0.11 in [-1, 1]. The loss is the output MSE instead of features of three surrogates.
    """

    name = "dwt"
    rule = "dwt-threshold"
    fixed = OUTPUTS_ALONE | {"momentum": 0.8}
    threshold_db: float = 20.0  # output PSNR below which a generator counts as interrupted
    every: int = 5  # steps between two changes of the weights

    def steps(
        self, problem: Problem, config: PerturbationConfig, state: State | None = None
    ) -> Iterator[State]:
        refuse_budget(self.name, problem)
        bands = ChromaWavelet()
        for moved in super().steps(replace(problem, budget=bands), config, state):
            if moved.step == config.steps:  # the result is a perturbation of RGB like any other
                moved = replace(moved, delta=bands.decode(moved.delta))
            yield moved
