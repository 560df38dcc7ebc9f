"""The fast gradient sign family, universal and per image, against all generators at once."""

from dataclasses import dataclass, replace
from typing import ClassVar

from aef_core.errors import BadInput
from aef_core.methods.base import Method, passes_over
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo

LARGEST_BATCH = 64  # faces that FGSM's one gradient looks at together
TINY = 0.01  # start at 1 % of the box: at zero the gradient of a squared distance vanishes


@dataclass
class FGSM(Method):
    """One step to the corner of the box that the gradient points at.

    Formula: d = clip(d0 + 2 eps sign(sum_k grad S_k / K), -eps, eps), S_k the output MSE. Twice
    eps, so that every pixel lands on the bound whatever d0 was.
    Source: Goodfellow et al., ICLR 2015 (arXiv 1412.6572); against face editors Ruiz et al. 2020
    (arXiv 2003.01279).

    Parameters
    ----------
    universal : bool
        One perturbation from one batch of (at most 64) faces, or one per image.

    Departs from the paper: starts at 1 % of the box instead of zero, where a squared distance to
    the clean output has no gradient.
    """

    name: ClassVar[str] = "fgsm"
    idea: ClassVar[str] = "one step to the bound along the sign of the summed gradient"
    universal: bool = True

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        batch = min(n, LARGEST_BATCH) if self.universal else config.batch
        one = replace(config, batch=batch, step_size=2 * config.eps, momentum=0.0, init=TINY,
                      feature_weight=0.0, feature_steps=0, universal=self.universal)  # fmt: skip
        return replace(one, steps=1 if self.universal else passes_over(n, one, 1))


@dataclass
class PGD(Method):
    """Iterated FGSM (I-FGSM, PGD): small sign steps, projected onto the box.

    Formula: d <- clip(d + alpha sign(sum_k grad S_k / K), -eps, eps), from a uniform random start.
    Source: Kurakin et al. 2017 (arXiv 1607.02533); Madry et al. 2018 (arXiv 1706.06083).

    Parameters
    ----------
    universal : bool
        One perturbation over batches of faces, or one per image.
    passes : int
        Per image only: updates each image receives. Paper settings in CMUA: 10 of eps / 5.

    Universal: step size and steps are the caller's. S_k is the output MSE.
    """

    name: ClassVar[str] = "pgd"
    idea: ClassVar[str] = "iterated FGSM: small sign steps, no memory"
    momentum: ClassVar[float] = 0.0
    universal: bool = True
    passes: int = 10

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise BadInput(f"passes is out of range: {self.passes}, must be at least 1")

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        plain = replace(config, momentum=self.momentum, feature_weight=0.0, feature_steps=0,
                        universal=self.universal)  # fmt: skip
        if self.universal:
            return plain
        steps = passes_over(n, plain, self.passes)
        return replace(plain, steps=steps, step_size=2 * config.eps / self.passes)


@dataclass
class MIFGSM(PGD):
    """PGD with momentum over L1-normalised gradients.

    Formula: m <- mu m + g / mean|g|, d <- clip(d + alpha sign(m), -eps, eps), mu = 1.
    Source: Dong et al., CVPR 2018 (arXiv 1710.06081), their ensemble in losses. Paper settings: mu
    1.0, 10 steps of eps / 10 per image (ours 2 eps / 10, since the start is random).
    """

    name: ClassVar[str] = "mi-fgsm"
    idea: ClassVar[str] = "PGD with momentum 1 over normalised gradients"
    momentum: ClassVar[float] = 1.0
