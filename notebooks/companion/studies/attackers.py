"""An attacker who knows that the perturbation is universal averages it out of many photos."""

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from aef_core.errors import BadInput
from aef_core.metrics import Evaluator, l2_mask
from companion.studies.robustness import Transform, blur, publish


def estimate_universal(protected: Tensor, clean: Tensor, smooth: Transform | None = None) -> Tensor:
    """What an attacker who knows that the perturbation is universal believes it to be.

    Formula: d' = mean_i r(y_i) - mean_j r(x_j), over published photos y_i = x_i + d and *other*
    clean photos x_j, with r(x) = x - smooth(x), or r(x) = x without `smooth`. The attacker owns
    neither the originals of y_i nor d; with equal clean means d' = d exactly. Faces differ most in
    their low frequencies, which r removes; so the error shrinks as 1 / sqrt(n), from less, but the
    low frequencies of d are lost.

    Parameters
    ----------
    protected : Tensor, shape [n, 3, H, W]
    clean : Tensor, shape [m, 3, H, W]
    smooth : callable, optional
        Any smoothing of photos, e.g. `lambda x: blur(x, 1.0)`.

    Returns
    -------
    Tensor, shape [1, 3, H, W]
    """

    def mean_residual(x: Tensor) -> Tensor:
        return (x if smooth is None else x - smooth(x)).mean(dim=0, keepdim=True)

    return mean_residual(protected) - mean_residual(clean)


def subtraction_attack(
    evaluator: Evaluator,
    delta: Tensor,
    photos: Tensor,
    clean: Tensor,
    counts: list[int],
    edits: int | None = None,
) -> pd.DataFrame:
    """Interruption left after the attacker averaged n published photos and subtracted.

    The reference is G(x) of the untouched photo, since that is what the attacker wants back. The
    estimate is the best of four by its cosine with d: the raw or the high-pass mean (blur of 1 px),
    as it is or its sign times max|d|. That is an upper bound, since a real attacker must guess
    which of the four is best.

    Parameters
    ----------
    evaluator : Evaluator
    delta : Tensor, shape [1, 3, H, W]
        The universal perturbation under attack.
    photos : Tensor, shape [>= max(counts), 3, H, W]
        Clean versions of other photos protected with delta; the attacker only sees them protected.
    clean : Tensor, shape [m, 3, H, W]
        Photos nobody protected.
    counts : list of int
        How many protected photos were collected; 0 is no attack.
    edits : int, optional
        Only the first so many edits of each generator; all by default.

    Returns
    -------
    DataFrame: n, model, l2_mask, cosine (of estimate and delta), variant.
    """
    if max(counts) > len(photos):
        raise BadInput(f"the attacker has {len(photos)} photos, {max(counts)} were asked for")
    images, rows = evaluator.faces.images, []
    protected, collected = publish(images + delta), publish(photos + delta)
    for n in tqdm(counts, desc="subtraction", leave=False):
        variant, guess, cosine = _best_guess(collected[:n], clean, delta) if n else ("none", 0, 0.0)
        attacked = publish(protected - guess)
        for model, generator in evaluator.zoo.items():
            values = torch.cat(
                [
                    l2_mask(evaluator.forged(model, e), evaluator.forge(attacked, model, e), images)
                    for e in generator.edits[:edits]
                ]
            )
            rows.append(
                {
                    "n": n,
                    "model": model,
                    "l2_mask": values.nanmean().item(),
                    "cosine": cosine,
                    "variant": variant,
                }
            )
    return pd.DataFrame(rows)


def _best_guess(collected: Tensor, clean: Tensor, delta: Tensor) -> tuple[str, Tensor, float]:
    raw = estimate_universal(collected, clean)
    high = estimate_universal(collected, clean, lambda x: blur(x, 1.0))
    eps = delta.abs().max()
    guesses = {
        "mean": raw,
        "high-pass mean": high,
        "sign of mean": eps * raw.sign(),
        "sign of high-pass mean": eps * high.sign(),
    }
    cosines = {
        k: F.cosine_similarity(g.flatten(), delta.flatten(), 0).item() for k, g in guesses.items()
    }
    best = max(cosines, key=cosines.get)
    return best, guesses[best], cosines[best]
