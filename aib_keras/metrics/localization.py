"""Whether a map lies on the object: its maximum (the pointing game), and how much of it."""

import numpy as np


def pointing_game(maps, boxes, image_shape):
    """Share of images whose map has its maximum inside the object's box.

    A cell of the map counts as inside if its centre, in pixels of the image, is. If several cells
    share the maximum, the share of them that is inside counts, so that a uniform map scores what a
    random guess would.

    Source: the pointing game of Zhang et al., Top-down Neural Attention, 2016, without its
    tolerance.

    Args:
        maps: Float array `(N, h, w)` or `(N, h, w, 1)`.
        boxes: Float array `(N, 4)`: y0, x0, y1, x1 in pixels, half-open.
        image_shape: (height, width) of the images in pixels.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: if there is not one box for each map.
    """
    maps = _checked_maps(maps, boxes)
    inside = cells_inside(boxes, maps.shape[1:], image_shape)
    at_maximum = maps == maps.max(axis=(1, 2), keepdims=True)
    return float(np.mean((inside & at_maximum).sum((1, 2)) / at_maximum.sum((1, 2))))


def energy_pointing_game(maps, boxes, image_shape):
    """Mean over the images of the share of the map that lies inside the object's box.

    Values below 0, which class activation maps have, count as 0, and a map without any value above
    0 as a uniform one, whose share is that of its cells. Which cells are inside is as in
    `pointing`.

    Source: the energy-based pointing game of Wang et al., Score-CAM, 2020, section 4.3.

    Args:
        maps, boxes, image_shape: As in `pointing`.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: if there is not one box for each map.
    """
    maps = np.maximum(_checked_maps(maps, boxes), 0)
    maps = np.where(maps.any(axis=(1, 2), keepdims=True), maps, 1).astype(np.float64)
    inside = cells_inside(boxes, maps.shape[1:], image_shape)
    return float(np.mean((inside * maps).sum((1, 2)) / maps.sum((1, 2))))


def cells_inside(boxes, map_shape, image_shape):
    """Which cells of a map have their centre inside a box: boolean `(N, h, w)`."""
    y0, x0, y1, x1 = np.asarray(boxes).T[:, :, None]
    y = (np.arange(map_shape[0]) + 0.5) * image_shape[0] / map_shape[0]
    x = (np.arange(map_shape[1]) + 0.5) * image_shape[1] / map_shape[1]
    rows, columns = (y >= y0) & (y < y1), (x >= x0) & (x < x1)
    return rows[:, :, None] & columns[:, None, :]


def _checked_maps(maps, boxes):
    """The maps as `(N, h, w)`."""
    maps = np.asarray(maps)
    if len(maps) != len(boxes):
        raise ValueError(f"Got {len(maps)} maps and {len(boxes)} boxes: one box a map is needed.")
    return maps.reshape(maps.shape[:3])
