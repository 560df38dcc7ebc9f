"""The floor: what one step costs at the least, a forward and a backward to the input a generator.

No loss, no weights, no update, no record; the same images and the same edits as the real step.
"""

from collections.abc import Iterator

import torch

from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, batch_rows
from aef_core.perturbation.objective import Zoo, clean_references


def bare_steps(zoo: Zoo, faces: FaceBatch, config: PerturbationConfig) -> Iterator[None]:
    """Per step and generator: one forward, one backward from output and feature to the input.

    With `feature_steps`, also as many forwards and backwards of the encoders alone.
    """
    device = next(next(iter(zoo.values())).parameters()).device
    images = faces.images.to(device)
    conditions = {
        k: r.conditions for k, r in clean_references(zoo, faces, config.seed, config.batch).items()
    }
    for step in range(config.steps):
        rows = batch_rows(len(images), step, config)
        for name, model in zoo.items():
            c = conditions[name][rows]
            for _ in range(config.feature_steps):
                x = images[rows].requires_grad_()
                feature = model.encode(x, c)[0]
                torch.autograd.grad(feature, x, torch.ones_like(feature))
            x = images[rows].requires_grad_()
            results = model.forward_with_feature(x, c)
            torch.autograd.grad(results, x, [torch.ones_like(r) for r in results])
        yield
