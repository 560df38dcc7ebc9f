"""The DWT baseline: a perturbation in the wavelet bands of the two chroma channels."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from aef_core.methods.base import Method, refuse_budget
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.budgets import ChromaWavelet
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import DWTThreshold, Weighting


@dataclass
class DWT(Method):
    """Chroma only, wavelet band by wavelet band, with the paper's threshold weights.

    Formula: theta holds one Haar level of Cb and Cr; delta = RGB(0, IWT(theta_cb), IWT(theta_cr));
    coefficients clipped at 0.8 eps, delta at eps (see `budgets.ChromaWavelet`). Weights:
    from equal ones, every few steps the first generator whose protected output still has a PSNR
    above the threshold gains 0.05 (see `weighting.DWTThreshold`).
    Source: Huang, Chen et al. (JCADCG, doi 10.3724/SP.J.1089.2024-00316), code
    github.com/imagecbj/Proactive-Defense-Against-Facial-Editing-in-DWT. Paper settings: one Haar
    level, chroma clipped at 0.02 of [0, 1], threshold 20 dB, every 5 epochs.

    Parameters
    ----------
    threshold_db : float
        A generator below this output PSNR counts as interrupted.
    every : int
        Steps between adjustments of the weights.

    Departs from the paper: there, a U-Net with a critic makes one perturbation per image and a
    saliency map scales it; here one universal theta is optimised in the same bands, by the same
    loop as all, within the common box as well (the paper's clip alone would allow 0.11 in [-1, 1]).
    The loss is the output MSE instead of features of three surrogates.
    """

    name: ClassVar[str] = "dwt"
    rule: ClassVar[str] = "dwt-threshold"
    idea: ClassVar[str] = "wavelet bands of the chroma channels, threshold weights"
    threshold_db: float = 20.0
    every: int = 5

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        return replace(config, feature_weight=0.0, feature_steps=0, momentum=0.8, universal=True)

    def weighting(self) -> Weighting:
        return DWTThreshold(**asdict(self))

    def steps(
        self,
        problem: Problem,
        config: PerturbationConfig,
        state: State | None = None,
        execution: Execution = PLAIN,
    ) -> Iterator[State]:
        refuse_budget(self.name, problem)
        bands = ChromaWavelet()
        for moved in super().steps(replace(problem, budget=bands), config, state, execution):
            if moved.step == config.steps:  # the result is a perturbation of RGB like any other
                moved = replace(moved, delta=bands.decode(moved.delta))
            yield moved
