"""Corruptions of images, with which the robustness of classifiers is usually measured."""

import dataclasses
import io

import numpy as np
from PIL import Image, ImageEnhance

from aib_keras.utils.checks import check_choice, check_integer, check_seed, check_uint8_images
from aib_keras.utils.optional import require

# The strengths that Hendrycks & Dietterich have for CIFAR-10-C.
STRENGTHS = {
    # Standard deviation, as a share of the range of a pixel.
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    # Standard deviation in pixels.
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1.0),
    # The share of the contrast that is left.
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    # The quality setting.
    "jpeg": (80, 65, 58, 50, 40),
}


@dataclasses.dataclass(frozen=True)
class Corruption:
    """Corrupts images as bad cameras and storage do, in one of five strengths.

    - `"gaussian_noise"`: Independent normal noise on each value, rounded and clipped. The noise of
      an image depends only on its index and the seed, and all severities have the same, scaled.
    - `"gaussian_blur"`: SciPy's Gaussian filter. At the edges the last pixel is repeated.
    - `"contrast"`: Pillow blends the image with its mean grey.
    - `"jpeg"`: Pillow encodes and decodes the image.

    Call it with uint8 images `(N, H, W, 3)`, and it returns changed copies of them. `first` (0 by
    default) is the index of `images[0]` in the data set, so that batches get the same draws as the
    whole.

    Source: Hendrycks & Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations, ICLR 2019, with the strengths of CIFAR-10-C, which are for images of 32 pixels.
    The images are not exactly those of CIFAR-10-C: its noise is another draw, and its contrast
    blends each channel with its own mean.

    Args:
        kind: `"gaussian_noise"`, `"gaussian_blur"`, `"contrast"` or `"jpeg"`.
        severity: Integer in [1, 5].
        seed: Integer in [0, 2**32 - 1], for the noise.

    Raises:
        ImportError: If SciPy is not installed, for the blur.
        ValueError: If an argument or the images are not as described.
    """

    kind: str
    severity: int
    seed: int = 0

    def __post_init__(self):
        check_choice("kind", self.kind, tuple(STRENGTHS))
        check_integer("severity", self.severity, minimum=1, maximum=5)
        check_seed("seed", self.seed)

    @property
    def name(self):
        return f"{self.kind.replace('_', ' ')} {self.severity}"

    def __call__(self, images, first=0):
        images = check_uint8_images("images", images)
        strength = STRENGTHS[self.kind][self.severity - 1]
        if self.kind == "gaussian_noise":
            first = check_integer("first", first, minimum=0)
            return self._noisy(images, strength, first)
        if self.kind == "gaussian_blur":
            return _blurred(images, strength)
        change = _with_contrast if self.kind == "contrast" else _compressed
        found = np.empty_like(images)
        for index, image in enumerate(images):
            found[index] = change(Image.fromarray(image), strength)
        return found

    def _noisy(self, images, std, first):
        found = np.empty_like(images)
        for index, image in enumerate(images):
            random = np.random.default_rng([self.seed, first + index])
            values = image + 255 * std * random.standard_normal(image.shape, "float32")
            found[index] = np.clip(np.rint(values), 0, 255)
        return found


def _blurred(images, std):
    filters = require("scipy.ndimage", "The Gaussian blur", "train")
    sides = (0, std, std, 0)
    values = filters.gaussian_filter(images.astype("float32"), sides, mode="nearest")
    return np.clip(np.rint(values), 0, 255).astype("uint8")


def _with_contrast(image, factor):
    return np.asarray(ImageEnhance.Contrast(image).enhance(factor))


def _compressed(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
