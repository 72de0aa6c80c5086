"""Perturbations of images under which a map should not change (Table 2 of the paper).

A perturbation is an object that is called as `perturbation(images, first=0)`. It takes uint8 images
`(N, H, W, 3)` and returns perturbed images of the same shape and dtype. `first` is the index of
`images[0]` in the data set. The result for an image depends only on its index and on the seed, not
on how the data set is divided into batches. Any function with this signature can be used instead.
"""

import dataclasses

import numpy as np

from aib_keras.data import pixels
from aib_keras.utils.checks import check_integer, check_positive, check_seed, check_uint8_images

# Random numbers per image: row, column, patch, and three for the colour. Two are unused.
_DRAWS = 8
_PHILOX_BLOCK = 4
# The number of spectra in memory at once. The results do not depend on it.
_SPECTRA = 64


@dataclasses.dataclass(frozen=True)
class ColorWindow:
    """Covers a square window at a random place of each image with a random colour.

    The window lies inside the image. All places are equally likely, and so are all colours. For the
    same seed, windows of all sizes, and those of `ImageWindow`, are at the same relative places.

    Call it with uint8 images `(N, H, W, 3)`, and it returns changed copies of them. `first` (0 by
    default) is the index of `images[0]` in the data set, so that batches get the same draws as the
    whole.

    Source: Lai et al., IJCAI 2021, Table 2 ("p x p").

    Args:
        size: Integer of at least 1, the side p of the window in pixels.
        seed: Integer in [0, 2**32 - 1].

    Raises:
        ValueError: If an argument or the images are not as described, or the window is larger than
            the images.
    """

    size: int
    seed: int = 0

    def __post_init__(self):
        check_integer("size", self.size, minimum=1)
        check_seed("seed", self.seed)

    @property
    def name(self):
        return f"colour window {self.size}"

    def __call__(self, images, first=0):
        images = check_uint8_images("images", images)
        draws = _draws(self.seed, first, len(images))
        colors = np.floor(256 * draws[:, None, None, 3:6]).astype(np.uint8)
        return _with_windows(images, colors, self.size, draws)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageWindow:
    """Covers a square window at a random place of each image with an image of another data set.

    The image in the window is chosen at random. The places are those of `ColorWindow`.

    Call it with uint8 images `(N, H, W, 3)`, and it returns changed copies of them. `first` (0 by
    default) is the index of `images[0]` in the data set, so that batches get the same draws as the
    whole.

    Source: Lai et al., IJCAI 2021, Table 2 ("svhn").

    Args:
        size: Integer of at least 1, the side p of the window in pixels.
        patches: uint8 array `(M, h, w, 3)` with M of at least 1, the images of the other data set.
            They are resized to p x p as `aib_keras.data.load` resizes images (bilinear,
            antialiased).
        seed: Integer in [0, 2**32 - 1].

    Raises:
        ValueError: If an argument or the images are not as described, or the window is larger than
            the images.
    """

    size: int
    patches: np.ndarray = dataclasses.field(repr=False)
    seed: int = 0

    def __post_init__(self):
        check_integer("size", self.size, minimum=1)
        check_seed("seed", self.seed)
        patches = check_uint8_images("patches", self.patches)
        if not len(patches):
            raise ValueError("There are no patches: pass at least one image for the windows.")
        square = (self.size, self.size)
        resized = np.stack([pixels.convert(patch, square) for patch in patches])
        object.__setattr__(self, "patches", resized)

    @property
    def name(self):
        return f"image window {self.size}"

    def __call__(self, images, first=0):
        images = check_uint8_images("images", images)
        draws = _draws(self.seed, first, len(images))
        chosen = np.floor(len(self.patches) * draws[:, 2]).astype(np.int64)
        return _with_windows(images, self.patches[chosen], self.size, draws)


@dataclasses.dataclass(frozen=True)
class _FrequencyFilter:
    radius: float

    def __post_init__(self):
        check_positive("radius", self.radius)

    def __call__(self, images, first=0):
        del first
        images = check_uint8_images("images", images)
        return _filtered(images, self._keeps(_squared_distance(*images.shape[1:3])))


@dataclasses.dataclass(frozen=True)
class HighPass(_FrequencyFilter):
    """Removes the low frequencies of images, which leaves edges and texture on black.

    In the two-dimensional discrete Fourier transform of each channel, only components whose
    distance from frequency zero is larger than `radius` are kept. The distance is Euclidean, in
    cycles per height and per width of the image, so a radius means the same at any image size. The
    result is rounded and clipped to [0, 255]. The mean is removed, too, so about half of the values
    are negative and become 0.

    Call it with uint8 images `(N, H, W, 3)`, and it returns changed copies of them.

    Source: Lai et al., IJCAI 2021, Table 2 ("HF r > 4"), after Wang et al., High-Frequency
    Component Helps Explain the Generalization of Convolutional Neural Networks, CVPR 2020.

    Args:
        radius: Positive number, in cycles per image.

    Raises:
        ValueError: If the radius or the images are not as described.
    """

    radius: float = 4

    @property
    def name(self):
        return f"high frequencies r > {self.radius:g}"

    def _keeps(self, squared_distance):
        return squared_distance > self.radius**2


@dataclasses.dataclass(frozen=True)
class LowPass(_FrequencyFilter):
    """Removes the high frequencies of images, which blurs them, with ringing at edges.

    Only components whose distance from frequency zero is smaller than `radius` are kept. The
    distance is that of `HighPass`.

    Call it with uint8 images `(N, H, W, 3)`, and it returns changed copies of them.

    Source: Lai et al., IJCAI 2021, Table 2 ("LF r < 12").

    Args:
        radius: Positive number, in cycles per image.

    Raises:
        ValueError: If the radius or the images are not as described.
    """

    radius: float = 12

    @property
    def name(self):
        return f"low frequencies r < {self.radius:g}"

    def _keeps(self, squared_distance):
        return squared_distance < self.radius**2


def _draws(seed, first, count):
    """Returns uniform random numbers in [0, 1) for the images from index `first` on.

    They are a float64 array `(count, 8)`.
    """
    first = check_integer("first", first, minimum=0)
    # NumPy guarantees the raw bits of a bit generator, and Philox can start at any image.
    generator = np.random.Philox(key=seed, counter=first * (_DRAWS // _PHILOX_BLOCK))
    return (generator.random_raw((count, _DRAWS)) >> np.uint64(11)) * 2.0**-53


def _with_windows(images, contents, size, draws):
    """Returns copies of images with `contents` in their windows.

    `contents` broadcasts to `(N, size, size, 3)`.
    """
    room = np.array(images.shape[1:3]) - size
    if min(room) < 0:
        raise ValueError(
            f"A window of {size}x{size} pixels does not fit into images of {images.shape[1]}x"
            f"{images.shape[2]}. Pass a smaller `size`."
        )
    top, left = np.floor(draws[:, :2] * (room + 1)).astype(np.int64).T[:, :, None]
    rows, columns = top + np.arange(size), left + np.arange(size)
    perturbed = images.copy()
    perturbed[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]] = contents
    return perturbed


def _squared_distance(height, width):
    """Returns integer squared distances from frequency zero, in the layout of `np.fft.rfft2`."""
    rows = np.fft.ifftshift(np.arange(height) - height // 2)
    columns = np.arange(width // 2 + 1)
    return rows[:, None] ** 2 + columns**2


def _filtered(images, keep):
    # The filter treats a frequency and its conjugate alike, so half of the spectrum is enough.
    filtered = np.empty_like(images)
    for start in range(0, len(images), _SPECTRA):
        part = slice(start, start + _SPECTRA)
        # Single precision is enough for eight bits, and twice as fast as double precision.
        values = images[part].astype(np.float32)
        spectra = np.fft.rfft2(values, axes=(1, 2)) * keep[..., None]
        values = np.fft.irfft2(spectra, s=images.shape[1:3], axes=(1, 2))
        filtered[part] = np.clip(np.rint(values), 0, 255)
    return filtered
