"""The fast gradient sign family, universal and per image, against all generators at once."""

import math
from dataclasses import dataclass, replace

from aef_core.methods.base import OUTPUTS_ALONE, Method
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.registry import setting


@dataclass
class FGSM(Method):
    """One step to the corner of the box that the gradient points at.

    Formula: d = clip(d0 + 2 eps sign(sum_k grad S_k / K), -eps, eps), S_k the output MSE. Twice
    eps, so that every pixel lands on the bound. The paper's d0 is zero, where a squared distance
    to the clean output has no gradient; here it is drawn from 1 % of the box.
    Source: Goodfellow et al., ICLR 2015 (arXiv 1412.6572); against face editors Ruiz et al. 2020
    (arXiv 2003.01279).
    """

    name = "fgsm"
    fixed = OUTPUTS_ALONE | {"momentum": 0.0, "init": 0.01}
    universal: bool = True  # one perturbation from one batch of up to 64 faces, or one per image

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        plain = replace(super().loop(config, n, zoo), step_size=2 * config.eps)
        if self.universal:
            return replace(plain, batch=min(n, 64), steps=1)
        return replace(plain, universal=False, steps=math.ceil(n / config.batch))


@dataclass
class PGD(Method):
    """Iterated FGSM (I-FGSM, PGD): small sign steps, projected onto the box.

    Formula: d <- clip(d + alpha sign(sum_k grad S_k / K), -eps, eps), from a uniform random start,
    S_k the output MSE. Universal: alpha and the number of steps are the caller's.
    Source: Kurakin et al. 2017 (arXiv 1607.02533); Madry et al. 2018 (arXiv 1706.06083).
    """

    name = "pgd"
    fixed = OUTPUTS_ALONE | {"momentum": 0.0}
    universal: bool = True  # one perturbation over batches of faces, or one per image
    passes: int = setting(10, "1 or more")  # per image: steps of 2 eps / passes; CMUA's paper: 10

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        plain = super().loop(config, n, zoo)
        if self.universal:
            return plain
        steps = self.passes * math.ceil(n / config.batch)
        return replace(plain, universal=False, steps=steps, step_size=2 * config.eps / self.passes)


@dataclass
class MIFGSM(PGD):
    """PGD with momentum over L1-normalised gradients.

    Formula: m <- mu m + g / mean|g|, d <- clip(d + alpha sign(m), -eps, eps), mu = 1.
    Source: Dong et al., CVPR 2018 (arXiv 1710.06081), as its ensemble of losses. Paper settings: mu
    1.0, 10 steps of eps / 10 per image (here 2 eps / 10, since the start is random).
    """

    name = "mi-fgsm"
    fixed = OUTPUTS_ALONE | {"momentum": 1.0}
