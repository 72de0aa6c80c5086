"""Scores of whether a map lies on the object: its maximum, and the share of its energy."""

import numpy as np

from aib_keras.metrics.checks import check_boxes, check_maps
from aib_keras.utils.checks import check_size


def pointing_game(maps, boxes, image_shape):
    """Computes the share of images whose map has its maximum inside the object's box.

    A cell of the map is inside if its centre, in pixels of the image, is inside. If several cells
    share the maximum, the image counts with the share of them that is inside, so a uniform map
    scores what a random guess scores.

    Source: the pointing game of Zhang et al., Top-down Neural Attention by Excitation Backprop,
    ECCV 2016, without its tolerance.

    Args:
        maps: Array `(N, h, w)` or `(N, h, w, 1)` of finite numbers.
        boxes: Array `(N, 4)` of y0, x0, y1, x1 in pixels, with y0 < y1 and x0 < x1. Rows y0 to y1
            and columns x0 to x1 are inside; y1 and x1 themselves are not.
        image_shape: (height, width) of the images in pixels.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: If an argument is not as described, or there is not one box for each map.
    """
    maps, inside = _maps_and_inside(maps, boxes, image_shape)
    at_maximum = maps == maps.max(axis=(1, 2), keepdims=True)
    return float(np.mean((inside & at_maximum).sum((1, 2)) / at_maximum.sum((1, 2))))


def energy_pointing_game(maps, boxes, image_shape):
    """Computes the mean share of a map's sum that lies inside the object's box.

    Negative values, which class activation maps have, count as 0. A map without positive values
    counts as a uniform map. A cell is inside a box as in `pointing_game`.

    Source: the energy-based pointing game of Wang et al., Score-CAM, CVPR Workshops 2020,
    section 4.3.

    Args:
        maps: Array `(N, h, w)` or `(N, h, w, 1)` of finite numbers.
        boxes: Array `(N, 4)`, as in `pointing_game`.
        image_shape: (height, width) of the images in pixels.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: If an argument is not as described, or there is not one box for each map.
    """
    maps, inside = _maps_and_inside(maps, boxes, image_shape)
    maps = np.maximum(maps, 0)
    maps = np.where(maps.any(axis=(1, 2), keepdims=True), maps, 1)
    return float(np.mean((inside * maps).sum((1, 2)) / maps.sum((1, 2))))


def cells_inside(boxes, map_shape, image_shape):
    """Returns which cells of a map have their centre inside a box, as booleans `(N, h, w)`."""
    y0, x0, y1, x1 = np.asarray(boxes).T[:, :, None]
    y = (np.arange(map_shape[0]) + 0.5) * image_shape[0] / map_shape[0]
    x = (np.arange(map_shape[1]) + 0.5) * image_shape[1] / map_shape[1]
    rows, columns = (y >= y0) & (y < y1), (x >= x0) & (x < x1)
    return rows[:, :, None] & columns[:, None, :]


def _maps_and_inside(maps, boxes, image_shape):
    """Returns the maps as `(N, h, w)`, and which of their cells are inside the boxes."""
    boxes = check_boxes(boxes)
    maps = check_maps(maps, len(boxes), "boxes")
    image_shape = check_size("image_shape", image_shape)
    return maps, cells_inside(boxes, maps.shape[1:], image_shape)
