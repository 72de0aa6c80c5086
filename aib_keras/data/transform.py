"""The one transform that turns an image of any size into what a model is evaluated on."""

import dataclasses

import numpy as np

from aib_keras.data import pixels
from aib_keras.utils.checks import check_number, check_size

# Of an image after resizing. Pillow and TensorFlow can hold more, but memory cannot.
_MAX_SIDE = 2**15


@dataclasses.dataclass(frozen=True)
class EvaluationTransform:
    """Resizes an image to `size / crop_pct` and crops the middle to `size`.

    Training, export and the page use this one class, so that a model sees the same pixels in each.

    Args:
        size: (height, width) in pixels of what the model sees, or an integer for a square.
        crop_pct: Float in (0, 1], the share of each side of the resized image that is kept. The
            paper's authors use 224 / 256 on CUB; 1 crops nothing.

    Raises:
        ValueError: if `size` is not one or two positive integers, `crop_pct` is not in (0, 1], or
            the resized image would be larger than 32,768 pixels on a side.
    """

    size: tuple[int, int]
    crop_pct: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "size", check_size("size", self.size))
        crop_pct = check_number("crop_pct", self.crop_pct, minimum=0, maximum=1)
        if not crop_pct:
            raise ValueError(f"`crop_pct` must be above 0, got {self.crop_pct!r}.")
        object.__setattr__(self, "crop_pct", crop_pct)
        if max(self.size) / crop_pct > _MAX_SIDE:
            raise ValueError(
                f"`size` {self.size} and `crop_pct` {crop_pct!r} would resize images to more than "
                f"{_MAX_SIDE:,} pixels on a side: use a smaller `size` or a larger `crop_pct`."
            )

    @property
    def resized_size(self):
        """(height, width) of the image before the crop."""
        return tuple(round(side / self.crop_pct) for side in self.size)

    @property
    def margins(self):
        """(top, left): the pixels that the crop removes above and to the left."""
        return middle(self.resized_size, self.size)

    @property
    def box(self):
        """(y0, x0, y1, x1): the part of the image that is kept, as shares of its sides."""
        starts = np.array(self.margins)
        edges = np.stack([starts, starts + self.size]) / self.resized_size
        return tuple(edges.ravel().tolist())

    def crop(self, images):
        """Crops the middle of resized images to `size`.

        Args:
            images: Array or tensor `(..., H, W, C)`, usually of `resized_size`.

        Returns:
            `(..., height, width, C)`. A NumPy array shares its memory with `images`.

        Raises:
            ValueError: if the images are smaller than `size`.
        """
        (height, width), (top, left) = self.size, middle(images.shape[-3:-1], self.size)
        return images[..., top : top + height, left : left + width, :]

    def read(self, path):
        """Reads an image file as the model sees it.

        Args:
            path: The file.

        Returns:
            uint8 array `(height, width, 3)`.

        Raises:
            ValueError: if the file is not an image that can be read safely.
        """
        return np.ascontiguousarray(self.crop(pixels.decode(path, self.resized_size)))

    def apply(self, image):
        """Resizes and crops an image that was read already: the pixels that `read` returns.

        Args:
            image: uint8 array `(H, W, 3)`.

        Returns:
            uint8 array `(height, width, 3)`.
        """
        return np.ascontiguousarray(self.crop(pixels.convert(image, self.resized_size)))


def middle(whole, part):
    """Returns (top, left) of a part of size (height, width) in the middle of a whole.

    Raises:
        ValueError: if the whole is smaller than the part.
    """
    margins = tuple((have - want) // 2 for have, want in zip(whole, part, strict=True))
    if min(margins) < 0:
        raise ValueError(
            f"cannot crop images of {tuple(whole)} to {tuple(part)}: use larger images or a "
            "smaller size."
        )
    return margins
