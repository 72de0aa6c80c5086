"""Overlays attention maps on images."""

import io
import math
import numbers

import numpy as np
from PIL import Image

from aib_serve.orientation import upright

_COLOR_MAP = "viridis"


def overlay(image, attention, opacity=0.5, *, nearest=False, limits=(0.0, 1.0)):
    """Overlays a map on its image, in the colours of matplotlib's viridis.

    The map is resized to the image: the corners of the map are the corners of the image.

    Args:
        image: uint8 array `(H, W, 3)`.
        attention: Array of numbers within `limits`, `(h, w)` or `(h, w, 1)`: one map, without a
            batch axis.
        opacity: Number in [0, 1]. 0 shows only the image, 1 only the map.
        nearest: Boolean. True shows the cells of the map as they are, for quantised maps, whose
            values must not be mixed. False interpolates between them (bilinear).
        limits: Pair low < high, the values of the darkest and the brightest colour. None takes the
            map's own minimum and maximum, for maps with a narrow range; a constant map is then
            dark. Two overlays compare only under the same limits, so state them.

    Returns:
        uint8 array `(H, W, 3)`.

    Raises:
        TypeError: if the image is not uint8 or the map not real numbers.
        ValueError: if a shape is not as described or empty, or a number is out of its range.
    """
    image, attention = _check_image(image), _check_attention(attention, limits)
    if not _is_number(opacity) or not 0 <= opacity <= 1:
        raise ValueError(f"`opacity` must be a number in [0, 1], got {opacity!r}.")
    low, high = (attention.min(), attention.max()) if limits is None else limits
    attention = (attention - low) / (high - low if high > low else 1)
    height, width = image.shape[:2]
    resampling = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    resized = np.asarray(Image.fromarray(attention).resize((width, height), resampling))
    # Imported here, because it takes longer than all else that a client does before a request.
    from matplotlib import colormaps

    colors = 255 * colormaps[_COLOR_MAP](resized)[..., :3]
    return np.rint((1 - opacity) * image + opacity * colors).astype(np.uint8)


def overlay_file(file, attention, box=(0, 0, 1, 1)):
    """Overlays a map, in its own range, on the part of an image file that it covers.

    Args:
        file: Bytes, the content of the file. The EXIF orientation of a JPEG file is applied, and
            transparency is composited over white.
        attention: As in `overlay`.
        box: y0, x0, y1, x1 in [0, 1], as shares of the sides of the upright image.

    Returns:
        uint8 array `(H, W, 3)`.
    """
    image = upright(Image.open(io.BytesIO(file)))
    if image.mode.startswith("I"):
        # 16 bits, of which the SavedModel takes the upper 8. Pillow itself would clip at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    picture = np.array(Image.alpha_composite(white, image).convert("RGB"))
    part = part_of(picture, box)
    picture[part] = overlay(picture[part], attention, limits=None)
    return picture


def part_of(image, box):
    """Returns the index of the part of an image that a box covers, at least one pixel.

    Args:
        image: Array `(H, W, ...)`.
        box: y0, x0, y1, x1 in [0, 1], as shares of the sides of the image.

    Returns:
        A pair of slices, of rows and of columns.
    """
    slices = []
    for low, high, side in zip(box[:2], box[2:], image.shape[:2], strict=True):
        start = min(round(low * side), side - 1)
        slices.append(slice(start, max(round(high * side), start + 1)))
    return tuple(slices)


def _check_image(image):
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(f"`image` must be uint8 in [0, 255], got {image.dtype}.")
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"`image` must have shape (H, W, 3), got {image.shape}. Of a batch, give one image."
        )
    return image


def _check_attention(attention, limits):
    attention = np.asarray(attention)
    if attention.dtype.kind not in "fiu":
        raise TypeError(f"`attention` must be real numbers, got {attention.dtype}.")
    if attention.ndim == 3 and attention.shape[-1] == 1:
        attention = attention[..., 0]
    if attention.ndim != 2 or not attention.size:
        raise ValueError(
            f"`attention` must have shape (h, w) or (h, w, 1), got {attention.shape}. Of a batch, "
            "give one map."
        )
    # Float32 is what Pillow resizes.
    attention = attention.astype(np.float32)
    if not np.isfinite(attention).all():
        raise ValueError("`attention` must be finite numbers; this map has NaN or infinity in it.")
    if limits is not None:
        low, high = _check_limits(limits)
        if attention.min() < low or attention.max() > high:
            raise ValueError(
                f"`attention` must be within `limits`, [{low:.4g}, {high:.4g}]; it is in "
                f"[{attention.min():.4g}, {attention.max():.4g}]. Give other limits (None: the "
                "map's own minimum and maximum), or clip it."
            )
    return attention


def _check_limits(limits):
    valid = isinstance(limits, (tuple, list)) and len(limits) == 2 and all(map(_is_number, limits))
    if not valid or not limits[0] < limits[1]:
        raise ValueError(
            "`limits` must be a pair of numbers low < high, or None for the map's own minimum and "
            f"maximum; got {limits!r}."
        )
    # As exact as the map is, whose extremes the limits may be.
    return np.float32(limits[0]), np.float32(limits[1])


def _is_number(value):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
