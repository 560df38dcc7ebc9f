"""Does a protection outlive a forger who retrains? TSDF's question, for any pattern."""

from collections.abc import Mapping

import pandas as pd
from torch import Tensor
from tqdm.auto import tqdm

from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator, per_model
from companion.training.patching import repair_table, retrain


def persistence(
    evaluator: Evaluator, forger: FaceBatch, patterns: Mapping[str, Tensor], epochs: int = 2
) -> pd.DataFrame:
    """Interruption left after a generator was retrained on faces protected by the same pattern.

    The generator is the one the first pattern interrupts most: where there is most to lose. It is
    retrained with the original generator as teacher (see `patching.retrain`), once per pattern.

    Parameters
    ----------
    evaluator : Evaluator
        Faces that neither defender nor forger has used.
    forger : FaceBatch
        The forger's faces.
    patterns : mapping of method to Tensor, shape [1, 3, H, W]

    Returns
    -------
    DataFrame indexed by method: `model`, `before` and `after` (mean L2_mask), `share`.
    """
    first = per_model(evaluator(next(iter(patterns.values()))))["l2_mask"]
    name, rows = first.idxmax(), {}
    original = evaluator.zoo[name]
    for method, delta in tqdm(patterns.items(), desc="retraining", leave=False):
        models = {
            "before": original,
            "after": retrain(original, forger, delta, epochs=epochs).model,
        }
        left = repair_table(evaluator, name, models, delta, dict.fromkeys(models, delta))
        left = left["known perturbation"]
        share = left["after"] / left["before"]
        rows[method] = {"model": name, **left, "share": share}
    return pd.DataFrame(rows).T
