"""Whether a map's maximum lies on the object (the pointing game)."""

import numpy as np


def pointing(maps, boxes, image_shape):
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
    maps = np.asarray(maps)
    maps = maps.reshape(maps.shape[:3])
    if len(maps) != len(boxes):
        raise ValueError(f"Got {len(maps)} maps and {len(boxes)} boxes: one box a map is needed.")
    inside = cells_inside(boxes, maps.shape[1:], image_shape)
    at_maximum = maps == maps.max(axis=(1, 2), keepdims=True)
    return float(np.mean((inside & at_maximum).sum((1, 2)) / at_maximum.sum((1, 2))))


def cells_inside(boxes, map_shape, image_shape):
    """Which cells of a map have their centre inside a box: boolean `(N, h, w)`."""
    y0, x0, y1, x1 = np.asarray(boxes).T[:, :, None]
    y = (np.arange(map_shape[0]) + 0.5) * image_shape[0] / map_shape[0]
    x = (np.arange(map_shape[1]) + 0.5) * image_shape[1] / map_shape[1]
    rows, columns = (y >= y0) & (y < y1), (x >= x0) & (x < x1)
    return rows[:, :, None] & columns[:, None, :]
