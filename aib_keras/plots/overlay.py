"""Maps laid over their images."""

import math

import numpy as np
from PIL import Image

from aib_keras.plots.maps import check_counts, draw_images, map_grid
from aib_keras.utils.checks import check_uint8_images

_COLUMNS = 6


def overlay_figure(images, maps, titles=None, boxes=None, opacity=0.85):
    """Draws each image darkened by its map: unchanged where the map is high, dark where it is low.

    Each map has a scale of its own, from its lowest to its highest value, so the figure shows where
    a model looks in an image rather than how much. A map with the same value everywhere darkens
    nothing.

    Args:
        images: uint8 array `(N, H, W, 3)`, N at least 1.
        maps: Array `(N, h, w)` or `(N, h, w, 1)`.
        titles: Optional N strings.
        boxes: Optional float array `(N, 4)` of y0, x0, y1, x1 in pixels.
        opacity: Float in [0, 1], of the shadow where a map is lowest.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `images` are not as described, or another argument does not have one row per
            image.
    """
    images = check_uint8_images("images", images)
    count = len(images)
    check_counts(count, {"maps": maps, "titles": titles, "boxes": boxes})
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    height, width = images.shape[1:3]
    figure, axes = map_grid(2.0 * columns, 2.25 * rows * height / width, rows, columns)
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    axes = axes.flat[:count]
    draw_images(axes, images, boxes)
    for index, (axis, values) in enumerate(zip(axes, maps, strict=True)):
        # The edges of the map lie on the edges of the image, half a pixel outside its centres.
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        share = _share(values)
        shadow = np.zeros((*share.shape, 4))
        shadow[..., 3] = opacity * (1 - share)
        axis.imshow(shadow, extent=extent, interpolation="bilinear")
        axis.set(xlim=extent[:2], ylim=extent[2:])
        if titles is not None:
            axis.set_title(titles[index], fontsize=8)
    return figure


def shaded(image, values, opacity=0.85):
    """Returns an image as its map lets it through: what `overlay_figure` draws, as pixels.

    Args:
        image: uint8 array `(H, W, 3)`.
        values: The map, an array `(h, w)` or `(h, w, 1)`.
        opacity: Float in [0, 1], of the shadow where the map is lowest.

    Returns:
        A uint8 array `(H, W, 3)`.
    """
    share = Image.fromarray(_share(values).astype("float32"))
    share = np.asarray(share.resize(image.shape[1::-1], Image.Resampling.BILINEAR))
    return np.rint(image * (1 - opacity * (1 - share[..., None]))).astype("uint8")


def _share(values):
    """Returns a map from 0 at its lowest value to 1 at its highest, `(h, w)`; 1 if it is flat."""
    values = np.reshape(values, values.shape[:2]).astype("float64")
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.ones_like(values)
