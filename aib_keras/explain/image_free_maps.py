"""Maps that know nothing of the image: baselines that any other map has to beat."""

import numpy as np

from aib_keras.utils.checks import check_integer, check_positive


def uniform_map(shape):
    """Returns maps that have the same value everywhere: a baseline without any preference.

    Args:
        shape: Shape `(N, h, w, 1)` of the maps.

    Returns:
        A float32 array of ones.

    Raises:
        ValueError: If `shape` is not as described.
    """
    return np.ones(_check_map_shape(shape), np.float32)


def gaussian_map(shape, sigma=0.25):
    """Returns maps that are high in the centre: a baseline that knows where objects mostly are.

    The values are those of a normal density, divided by the highest one.

    Args:
        shape: Shape `(N, h, w, 1)` of the maps.
        sigma: Positive number, the standard deviation as a share of the map's height and width.

    Returns:
        A float32 array of values in [0, 1].

    Raises:
        ValueError: If an argument is not as described.
    """
    count, height, width, _ = _check_map_shape(shape)
    sigma = check_positive("sigma", sigma)
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    squared = y[:, None] ** 2 + x**2
    # Relative to the central cells: for a small sigma, all values would otherwise round to 0.
    with np.errstate(over="ignore"):
        one = np.exp(-0.5 * (squared - squared.min()) / sigma / sigma).astype(np.float32)
    return np.tile(one[None, :, :, None], (count, 1, 1, 1))


def _check_map_shape(shape):
    sides = tuple(shape) if np.ndim(shape) == 1 else ()
    if len(sides) != 4 or sides[3] != 1:
        raise ValueError(f"`shape` must be (N, h, w, 1), got {shape!r}.")
    return tuple(check_integer("shape", side, minimum=1) for side in sides)
