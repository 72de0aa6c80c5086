"""The perturbations of images under which a map should stay what it is (Table 2 of the paper).

Each is a small object, called as `perturbation(images, first=0)`: uint8 images `(N, H, W, 3)` in,
modified ones of the same shape and type out. `first` is the index of `images[0]` in its data set:
what happens to an image depends on its index and the seed alone, not on how a data set is cut into
batches. Any function with this signature can take their place.
"""

import dataclasses
import math
import numbers

import numpy as np

from aib_keras.data import pixels
from aib_keras.utils.checks import check_integer

# Random numbers kept for an image: row, column, patch, three colours; two are unused.
_DRAWS = 8
_PHILOX_BLOCK = 4
# Spectra computed at once: it bounds the memory, and no image depends on it.
_SPECTRA = 64


@dataclasses.dataclass(frozen=True)
class ColorWindow:
    """A square window at a random place in each image, filled with one random colour.

    The window lies inside the image; all places are equally likely, and so are all colours. For one
    seed the windows of all sizes, and those of `ImageWindow`, are at the same relative places.

    Source: Lai et al., IJCAI 2021, Table 2 ("p x p").

    Args:
        size: Integer p, side of the window in pixels.
        seed: Non-negative integer.

    Raises:
        TypeError: if called with images that are not uint8.
        ValueError: if an argument is not as described, or the window is larger than the images.
    """

    size: int
    seed: int = 0

    def __post_init__(self):
        check_integer("size", self.size, minimum=1)
        check_integer("seed", self.seed, minimum=0)

    @property
    def name(self):
        return f"colour window {self.size}"

    def __call__(self, images, first=0):
        images = _check_images(images)
        draws = _draws(self.seed, first, len(images))
        colors = np.floor(256 * draws[:, None, None, 3:6]).astype(np.uint8)
        return _with_windows(images, colors, self.size, draws)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageWindow:
    """A square window at a random place in each image, filled with an image of another data set.

    Which one is random. Places are those of `ColorWindow`.

    Source: Lai et al., IJCAI 2021, Table 2 ("svhn").

    Args:
        size: Integer p, side of the window in pixels.
        patches: uint8 array `(M, h, w, 3)`, images of the other data set. They are resized to p x p
            as `aib_keras.data.load` resizes images (bilinear, antialiased).
        seed: Non-negative integer.

    Raises:
        TypeError: if the patches, or the images that it is called with, are not uint8.
        ValueError: if an argument is not as described, or the window is larger than the images.
    """

    size: int
    patches: np.ndarray = dataclasses.field(repr=False)
    seed: int = 0

    def __post_init__(self):
        check_integer("size", self.size, minimum=1)
        check_integer("seed", self.seed, minimum=0)
        patches = _check_images(self.patches, "patches")
        if not len(patches):
            raise ValueError("There are no patches: at least one image is needed for the windows.")
        square = (self.size, self.size)
        resized = np.stack([pixels.convert(patch, square) for patch in patches])
        object.__setattr__(self, "patches", resized)

    @property
    def name(self):
        return f"image window {self.size}"

    def __call__(self, images, first=0):
        images = _check_images(images)
        draws = _draws(self.seed, first, len(images))
        chosen = np.floor(len(self.patches) * draws[:, 2]).astype(np.int64)
        return _with_windows(images, self.patches[chosen], self.size, draws)


@dataclasses.dataclass(frozen=True)
class _FrequencyFilter:
    radius: float

    def __post_init__(self):
        valid = isinstance(self.radius, numbers.Real) and not isinstance(self.radius, bool)
        if not valid or not 0 < self.radius < math.inf:
            raise ValueError(
                f"`radius` must be a positive number of cycles per image, got {self.radius!r}."
            )

    def __call__(self, images, first=0):
        del first
        images = _check_images(images)
        return _filtered(images, self._keeps(_squared_distance(*images.shape[1:3])))


@dataclasses.dataclass(frozen=True)
class HighPass(_FrequencyFilter):
    """What is left of an image without its low frequencies: edges and texture on black.

    Of each channel's two-dimensional discrete Fourier transform the components at a distance of
    more than `radius` from the centre are kept. The centre is where `np.fft.fftshift` puts the
    frequency zero, (H // 2, W // 2), for even and odd sizes; the distance is Euclidean, in steps of
    the spectrum, which are cycles per height and per width of the image, so that a radius means the
    same at any image size. The result is rounded and clipped to [0, 255]. The mean is removed with
    the rest, so about half of the values are negative and become 0.

    Source: Lai et al., IJCAI 2021, Table 2 ("HF r > 4"), after Wang et al., High-Frequency
    Component Helps Explain the Generalization of CNNs, CVPR 2020.

    Args:
        radius: Positive number.

    Raises:
        TypeError: if called with images that are not uint8.
        ValueError: if the radius, or the images' shape, is not as described.
    """

    radius: float = 4

    @property
    def name(self):
        return f"high frequencies r > {self.radius:g}"

    def _keeps(self, squared_distance):
        return squared_distance > self.radius**2


@dataclasses.dataclass(frozen=True)
class LowPass(_FrequencyFilter):
    """What is left of an image without its high frequencies: it blurred, with ringing at edges.

    Components at a distance of less than `radius` from the centre are kept; see `HighPass` for what
    that means.

    Source: Lai et al., IJCAI 2021, Table 2 ("LF r < 12").

    Args:
        radius: Positive number.

    Raises:
        TypeError: if called with images that are not uint8.
        ValueError: if the radius, or the images' shape, is not as described.
    """

    radius: float = 12

    @property
    def name(self):
        return f"low frequencies r < {self.radius:g}"

    def _keeps(self, squared_distance):
        return squared_distance < self.radius**2


def _draws(seed, first, count):
    """Uniform numbers in [0, 1), float64 (count, 8): a row for each image from index `first` on."""
    first = check_integer("first", first, minimum=0)
    # NumPy keeps the raw bits of a bit generator for ever, and Philox starts at any image at once.
    generator = np.random.Philox(key=seed, counter=first * (_DRAWS // _PHILOX_BLOCK))
    return (generator.random_raw((count, _DRAWS)) >> np.uint64(11)) * 2.0**-53


def _with_windows(images, contents, size, draws):
    """Copies of images with `contents`, which broadcast to (N, size, size, 3), in their windows."""
    room = np.array(images.shape[1:3]) - size
    if min(room) < 0:
        raise ValueError(
            f"A window of {size}x{size} pixels does not fit into images of {images.shape[1]}x"
            f"{images.shape[2]}: make it smaller."
        )
    top, left = np.floor(draws[:, :2] * (room + 1)).astype(np.int64).T[:, :, None]
    rows, columns = top + np.arange(size), left + np.arange(size)
    modified = images.copy()
    modified[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]] = contents
    return modified


def _squared_distance(height, width):
    """Squared distances from the frequency zero, integers, in the layout of `np.fft.rfft2`."""
    rows = np.fft.ifftshift(np.arange(height) - height // 2)
    columns = np.arange(width // 2 + 1)
    return rows[:, None] ** 2 + columns**2


def _filtered(images, keep):
    # A radius treats a frequency and its conjugate alike, so half of the spectrum is enough.
    filtered = np.empty_like(images)
    for start in range(0, len(images), _SPECTRA):
        part = slice(start, start + _SPECTRA)
        # Single precision is enough for eight bits, and twice as fast.
        values = images[part].astype(np.float32)
        spectra = np.fft.rfft2(values, axes=(1, 2)) * keep[..., None]
        values = np.fft.irfft2(spectra, s=images.shape[1:3], axes=(1, 2))
        filtered[part] = np.clip(np.rint(values), 0, 255)
    return filtered


def _check_images(images, argument="images"):
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(
            f"{argument} must be uint8 in [0, 255], got {images.dtype}. Modify images before they "
            "are normalised."
        )
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"{argument} must have shape (N, H, W, 3), got {images.shape}. Add the batch axis to a "
            "single image with images[None]."
        )
    return images
