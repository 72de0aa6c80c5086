"""The one transform that turns an image of any size into what a model is evaluated on."""

import dataclasses

from aib_keras.utils.checks import check_integer, check_number


@dataclasses.dataclass(frozen=True)
class EvaluationTransform:
    """Resizes an image to `size / crop_pct` and crops the middle to `size`.

    Training, export and the page use this one class, so that a model sees the same pixels in each.

    Args:
        size: (height, width) in pixels of what the model sees.
        crop_pct: Float in (0, 1], the share of each side of the resized image that is kept. The
            paper's authors have 224 / 256 on CUB; 1 crops nothing.

    Raises:
        ValueError: if `size` is not two positive integers or `crop_pct` is not in (0, 1].
    """

    size: tuple[int, int]
    crop_pct: float = 1.0

    def __post_init__(self):
        if not isinstance(self.size, (tuple, list)) or len(self.size) != 2:
            raise ValueError(f"`size` must be (height, width), got {self.size!r}.")
        size = tuple(check_integer("size", side, minimum=1) for side in self.size)
        object.__setattr__(self, "size", size)
        if check_number("crop_pct", self.crop_pct, minimum=0, maximum=1) == 0:
            raise ValueError(f"`crop_pct` must be above 0, got {self.crop_pct!r}.")

    @property
    def resized_size(self):
        """(height, width) of the image before the crop."""
        return tuple(round(side / self.crop_pct) for side in self.size)

    @property
    def margins(self):
        """(top, left): the pixels that the crop removes above and to the left."""
        pairs = zip(self.resized_size, self.size, strict=True)
        return tuple((resized - side) // 2 for resized, side in pairs)
