"""Decoding of image files to uint8 RGB, resizing and cropping."""

import concurrent.futures
import functools
import math
import os

import numpy as np
from PIL import Image

from aib_keras.utils.optional import require
from aib_serve.orientation import JPEG, upright

# Of all images of a data set, decoded.
MAX_BYTES = 8 * 1024**3
# Pillow's names of the formats of the files that are read, as far as it has them.
_FORMATS = (*JPEG, "AVIF", "BMP", "GIF", "PNG", "PPM", "TGA", "TIFF", "WEBP")
# Files that are looked at for others that cannot be read, and how many of these are named.
_LOOKED_AT, _NAMED = 20_000, 10


class UnreadableImageError(ValueError):
    """A file is not an image, or is damaged."""


def check_memory(count, height, width, source, remedy=""):
    """Refuses images that would fill the memory once they are decoded.

    Args:
        count, height, width: Integers.
        source: What the images are from, for the message.
        remedy: What else to do about it, for the message.

    Raises:
        ValueError: If `count` RGB images of this size need more than 8 GiB.
    """
    needed = count * height * width * 3
    if needed > MAX_BYTES:
        raise ValueError(
            f"{source}: {count} images of {height}x{width} need {needed / 1024**3:.1f} GiB of "
            f"memory, more than the {MAX_BYTES / 1024**3:.3g} GiB allowed: use a smaller "
            f'image_size, or a slice such as "train[:10000]"{remedy}.'
        )


def whether_to_stream(stream, count, height, width, source):
    """Returns whether to read images when they are needed instead of all at once.

    Args:
        stream: Boolean, or None for what the size of the images suggests.
        count, height, width, source: As in `check_memory`.

    Raises:
        ImportError: If they have to be streamed and Grain is not installed.
        ValueError: If `stream` is False and they need more than 8 GiB.
    """
    if stream is False:
        check_memory(count, height, width, source, ", or stream=True")
        return False
    if stream or count * height * width * 3 > MAX_BYTES:
        # Here rather than hours later, when the training begins.
        require("grain", f"Streaming the images of {source}", "stream")
        return True
    return False


def decode(path, size=None):
    """Reads an image file.

    The EXIF orientation of a JPEG file is applied, as a SavedModel does, and transparency is
    composited over white. 16-bit images keep their high byte, animations their first frame.

    Args:
        path: The file.
        size: Optional (height, width) to resize to.

    Returns:
        uint8 array `(H, W, 3)`.

    Raises:
        UnreadableImageError: If the file is not an image that can be read. The message names it.
        ValueError: If the file is suspiciously large. The message names it.
    """
    try:
        with Image.open(path, formats=_formats()) as image:
            # Up to twice its limit Pillow only warns, and the warning does not name the file.
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and math.prod(image.size) > limit:
                raise Image.DecompressionBombError(f"{image.size[0]}x{image.size[1]} pixels")
            return np.asarray(_resized(_to_rgb(upright(image)), size))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{path} is too large to be decoded safely ({error}). If you trust it, raise "
            "PIL.Image.MAX_IMAGE_PIXELS, or make the file smaller."
        ) from error
    except Exception as error:  # For broken files Pillow's decoders raise errors of any type.
        raise UnreadableImageError(
            f"{path} cannot be read as an image ({error}). It may be truncated, damaged or not an "
            "image: replace it or remove it."
        ) from error


@functools.cache
def _formats():
    """Returns the formats that are read. Pillow would try some 40, among them programs (EPS)."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def check_files(paths):
    """Looks for files that cannot be read as images, once it is known that there is one.

    Args:
        paths: Sequence of paths. Of very many, the first are looked at.

    Raises:
        UnreadableImageError: If there are several. The message names the first ten.
    """
    paths = paths[:_LOOKED_AT]

    def problem(path):
        try:
            decode(path)
        except ValueError as error:
            return f"\n  {path} ({error.__cause__})"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [found for found in pool.map(problem, paths) if found]
    if len(problems) > 1:
        more = len(problems) - _NAMED
        raise UnreadableImageError(
            f"{len(problems)} of {len(paths)} files cannot be read as images. They may be "
            "truncated, damaged, too large or not images: replace them or remove them."
            + "".join(problems[:_NAMED])
            + (f"\n  and {more} more" if more > 0 else "")
        )


def _to_rgb(image):
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its values, {values.min()} to {values.max()}, are not 16-bit")
        # Pillow itself would clip at 255.
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point images have no fixed range: save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _resized(image, size):
    if size is None or image.size == (size[1], size[0]):
        return image
    # Pillow's filters are antialiased: they widen as the image shrinks.
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def convert(array, size=None):
    """Converts a decoded image to RGB.

    Args:
        array: uint8 array `(H, W)`, `(H, W, 1)`, `(H, W, 3)`, or `(H, W, 4)`, whose last channel is
            opacity.
        size: Optional (height, width) to resize to.

    Returns:
        uint8 array `(height, width, 3)`.
    """
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return np.asarray(_resized(_to_rgb(Image.fromarray(np.ascontiguousarray(array))), size))


def crop_to_box(array, box):
    """Crops an image `(H, W, C)` to a box y0, x0, y1, x1, in fractions of its sides.

    The crop has every pixel that the box touches, and at least one. A box that is not finite stands
    for the whole image.
    """
    if not np.isfinite(box).all():
        return array
    height, width = array.shape[:2]
    (top, bottom), (left, right) = (
        _cells(box[axis], box[axis + 2], side) for axis, side in enumerate((height, width))
    )
    return array[top:bottom, left:right]


def _cells(low, high, side):
    # Multiplied by the side, a float32 fraction is not quite an integer again.
    start = min(max(int(np.floor(low * side + 1e-3)), 0), side - 1)
    return start, min(max(int(np.ceil(high * side - 1e-3)), start + 1), side)


def resize_boxes(boxes, old, new):
    """Moves boxes in pixels along when images of size `old` (H, W) are resized to `new`."""
    factor = np.array([new[0] / old[0], new[1] / old[1]] * 2, np.float32)
    return boxes * factor
