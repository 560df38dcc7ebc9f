"""Out of focus: everything around the head, so that no photograph's backdrop is passed on.

Outside the head a morph cannot average its parents (walls, lettering and collars do not match), so
one of them leads there. As a portrait lens would, this blurs that region until hardly anything of
it can be recognised; what is left is its colour.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

CENTRE, RADII = (32.0, 32.0), (29.0, 23.0)  # of the head in a 64-pixel tile: (y, x)
EDGE = 0.22  # width of the transition, in radii
BLUR = 4.5 / 64  # standard deviation, of the tile's side


def head_mask(size: int = 64) -> np.ndarray:
    """1 on the head, 0 on the backdrop, smooth between; shape [size, size, 1]."""
    y, x = (np.indices((size, size)) + 0.5) * 64 / size
    radius = np.hypot((y - CENTRE[0]) / RADII[0], (x - CENTRE[1]) / RADII[1])
    step = np.clip((1 + EDGE - radius) / (2 * EDGE), 0, 1)
    return (step * step * (3 - 2 * step))[..., None]


def defocus(tile: np.ndarray) -> np.ndarray:
    """A tile with its backdrop out of focus.

    Parameters
    ----------
    tile : array of uint8, shape [S, S, 3]

    Returns
    -------
    array of uint8, same shape
    """
    mask = head_mask(len(tile))
    # the blur sees the backdrop only, or the face would glow into it
    outside = np.broadcast_to(1 - 0.97 * mask, tile.shape)
    sigma = (BLUR * len(tile), BLUR * len(tile), 0)
    colours = gaussian_filter(tile * outside, sigma, mode="nearest")
    blurred = colours / gaussian_filter(outside, sigma, mode="nearest")
    return np.round(mask * tile + (1 - mask) * blurred).clip(0, 255).astype(np.uint8)
