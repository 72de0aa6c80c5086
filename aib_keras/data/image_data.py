"""The form in which every source returns its images."""

import dataclasses

import numpy as np

from aib_keras.data.transform import EvaluationTransform, middle
from aib_keras.utils.checks import check_integer


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled colour images in memory.

    Args:
        images: uint8 (N, H, W, 3), values in [0, 255].
        labels: Integers (N,), values in [0, len(class_names)); kept as int32.
        class_names: Names of the classes, at least two, all different.
        boxes: Optional float32 (N, 4): y0, x0, y1, x1 in pixels. The last row and the last column
            of a box are y1 - 1 and x1 - 1.
        name: Where the images come from, for messages and reports.

    Raises:
        TypeError: If `images` or `boxes` is not a NumPy array of the dtype above, or `labels` are
            not integers.
        ValueError: If a shape or a value is not as above, or there are no images.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    boxes: np.ndarray | None = None
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
        self._check_images()
        count = len(self.images)
        if count == 0:
            raise ValueError(f"{self._where}there are no images.")
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{self._where}labels must be integers; got {labels.dtype}.")
        self._check_shape("labels", labels, (count,))
        self._check_class_names()
        if len(self.class_names) < 2:
            raise ValueError(
                f"{self._where}a classifier needs at least two classes; "
                f"got {list(self.class_names)}."
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self.class_names):
            raise ValueError(
                f"{self._where}labels must be in [0, {len(self.class_names)}), one for each class "
                f"name; they are in [{low}, {high}]."
            )
        object.__setattr__(self, "labels", labels.astype(np.int32, copy=False))
        if self.boxes is not None:
            self._check_array("boxes", self.boxes, np.float32, (count, 4))
            ordered = (self.boxes[:, 2:] >= self.boxes[:, :2]).all(axis=1)
            bad = np.flatnonzero(~(ordered & np.isfinite(self.boxes).all(axis=1)))
            if len(bad):
                raise ValueError(
                    f"{self._where}boxes must be finite y0, x0, y1, x1 with y0 <= y1 and x0 <= x1; "
                    f"box {bad[0]} is {self.boxes[bad[0]].tolist()}."
                )

    def _check_class_names(self):
        """Names must tell classes apart, and fit the lists of names in exported models."""
        seen = set()
        for name in self.class_names:
            if name.splitlines() != [name] or name in seen:
                wrong = "appears twice" if name in seen else "is not one line of text"
                raise ValueError(
                    f"{self._where}each class needs a name of its own, but {name!r} {wrong}. "
                    "Rename the class, as in 'crane (bird)'."
                )
            seen.add(name)

    def _check_images(self):
        self._check_array("images", self.images, np.uint8, (None, None, None, 3))

    def _check_array(self, field, array, dtype, shape):
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            got = getattr(array, "dtype", type(array).__name__)
            raise TypeError(
                f"{self._where}{field} must be a NumPy array of {np.dtype(dtype)}; got {got}."
            )
        self._check_shape(field, array, shape)

    def _check_shape(self, field, array, shape):
        if len(array.shape) != len(shape) or any(
            want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
        ):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            raise ValueError(f"{self._where}{field} must have shape ({wanted}); got {array.shape}.")

    @property
    def _where(self):
        return f"{self.name}: " if self.name else ""

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        boxes = "" if self.boxes is None else ", with boxes"
        return (
            f"{type(self).__name__}({self.name!r}: {len(self)} images of {self.input_shape}, "
            f"{self.num_classes} classes{boxes})"
        )

    @property
    def num_classes(self):
        return len(self.class_names)

    @property
    def input_shape(self):
        """(H, W, 3)."""
        return self.images.shape[1:]

    @property
    def has_visible_box(self):
        """Boolean `(N,)`: whether each box has a positive area. A crop can leave one without."""
        return (self.boxes[:, 2:] > self.boxes[:, :2]).all(axis=1)

    def take(self, n):
        """Returns the first `n` examples, which share memory with these.

        Raises:
            ValueError: If `n` is not an integer in [1, len(self)].
        """
        n = check_integer("n", n, minimum=1)
        if n > len(self):
            raise ValueError(f"{self._where}cannot take {n} of {len(self)} examples.")
        return self.slice(0, n)

    def hold_out(self, n):
        """Returns `(rest, held)`: all examples but the last `n`, and the last `n`.

        Both share memory with these.

        Raises:
            ValueError: If `n` is not an integer in [1, len(self) - 1].
        """
        n = check_integer("n", n, minimum=1)
        if n >= len(self):
            raise ValueError(
                f"{self._where}cannot hold out {n} of {len(self)} examples: at least one must be "
                "left."
            )
        return self.slice(0, len(self) - n), self.slice(len(self) - n, len(self))

    def slice(self, start, stop):
        """Returns the examples `start` to `stop - 1`, which share memory with these."""
        return dataclasses.replace(
            self,
            images=self._part(start, stop),
            labels=self.labels[start:stop],
            boxes=None if self.boxes is None else self.boxes[start:stop],
        )

    def _part(self, start, stop):
        return self.images[start:stop]

    def _cropped(self, transform):
        return np.ascontiguousarray(transform.crop(self.images))

    def center_crop(self, size):
        """Crops the middle of every image. Boxes move along and end at the edge of the crop.

        Args:
            size: (height, width) in pixels, or an integer for a square.

        Raises:
            ValueError: If `size` is not one or two positive integers, or the images are smaller.
        """
        transform = EvaluationTransform(size)
        try:
            images = self._cropped(transform)
        except ValueError as error:
            raise ValueError(f"{self._where}{error}") from None
        boxes = self.boxes
        if boxes is not None:
            moved = boxes - np.float32([*middle(self.input_shape[:2], transform.size)] * 2)
            boxes = np.clip(moved, 0, np.float32([*transform.size] * 2))
        return dataclasses.replace(self, images=images, boxes=boxes)
