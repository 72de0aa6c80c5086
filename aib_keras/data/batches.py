"""Augmented batches that are the same when a run is resumed."""

import functools
import math

import keras
import numpy as np

from aib_keras.utils.checks import check_boolean, check_integer, check_size


class CropFlip:
    """The paper's augmentation: a crop at a random position and a random flip.

    The paper pads 32x32 images by reflection and crops them to their own size; it crops larger
    images to a smaller size without padding. Each image has its own position and its own flip.

    Call it with uint8 images `(B, H, W, C)` and a `np.random.Generator`. It returns images
    `(B, height, width, C)`, and raises a `ValueError` if `padding` is not less than the sides of
    the images or the padded images are smaller than `size`.

    Args:
        padding: Integer, the pixels added on each side by reflection, without repeating the edge.
        flip: Boolean, whether half of the images are mirrored left to right. Turn it off where
            mirroring changes the class, as with digits.
        size: (height, width) of the crops or an integer for squares; None for the images' own size.

    Raises:
        ValueError: If an argument is not as described.
    """

    def __init__(self, padding=4, flip=True, size=None):
        self.padding = check_integer("padding", padding, minimum=0)
        self.flip = check_boolean("flip", flip)
        self.size = None if size is None else check_size("size", size)

    def __call__(self, images, rng):
        return self.crop(images, *self.positions(images.shape, rng))

    @staticmethod
    def crop(images, rows, columns):
        """Returns the crops of images `(B, H, W, C)` at what `positions` has drawn."""
        count, height, width, channels = images.shape
        # One gather of whole pixels is several times faster than padding and cropping each image.
        first = np.arange(count)[:, None] * height
        pixels = (first + rows)[:, :, None] * width + columns[:, None, :]
        crops = images.reshape(-1, channels).take(pixels.ravel(), axis=0)
        return crops.reshape(count, *pixels.shape[1:], channels)

    def positions(self, shape, rng):
        """Draws which rows and columns of each image are in its crop.

        Args:
            shape: The shape `(B, H, W, C)` of the images.
            rng: `np.random.Generator`.

        Returns:
            Integer arrays `(B, height)` in [0, H) and `(B, width)` in [0, W).

        Raises:
            ValueError: As when the object is called.
        """
        count, height, width, _ = shape
        if self.padding >= min(height, width):
            raise ValueError(
                f"Reflection cannot pad {height}x{width} images by {self.padding} pixels: "
                "`padding` must be less than each side."
            )
        size = self.size or (height, width)
        room = np.array([height, width]) + self.padding - np.array(size)
        if min(room) < -self.padding:
            raise ValueError(
                f"Crops of {size[0]}x{size[1]} do not fit into {height}x{width} images padded by "
                f"{self.padding} pixels: use a smaller `size` or larger images."
            )
        start = rng.integers(-self.padding, room[:, None, None] + 1, size=(2, count, 1))
        rows = _reflect(np.arange(size[0]) + start[0], height)
        columns = _reflect(np.arange(size[1]) + start[1], width)
        if self.flip:
            mirrored = rng.random((count, 1)) < 0.5
            columns = np.where(mirrored, columns[:, ::-1], columns)
        return rows, columns


def _reflect(positions, size):
    """Mirrors positions at 0 and at size - 1, as np.pad does in the mode "reflect"."""
    positions = np.abs(positions)
    return size - 1 - np.abs(size - 1 - positions)


class AugmentedBatches(keras.utils.PyDataset):
    """Batches of uint8 images `(B, H, W, 3)` and int32 labels `(B,)`.

    The order and the augmentation depend on the seed, the epoch and the index of the batch, and on
    nothing else. This class does not advance `epoch`: a training callback sets it at the beginning
    of each epoch. So a run that resumes at epoch 30 sees the batches that it would have seen
    without the break.

    Call Keras's `fit` with `shuffle=False`: by default it shuffles the order of the batches from
    a global random state. Do not pass it `steps_per_epoch`, with which it makes batches before the
    epoch is set. There is no `workers` argument: with several workers `fit` on JAX and torch does
    not train on the batches of the epoch that the callback sets.

    Args:
        data: An `ImageData`.
        batch_size: Integer, the examples per batch. The last batch of an epoch may be smaller.
        augment: Optional function of (images, `np.random.Generator`), such as `CropFlip()`.
        shuffle: Boolean, whether each epoch has an order of its own.
        seed: Non-negative integer.
        drop_remainder: Boolean, whether to leave out the last batch if it is smaller.

    Raises:
        ValueError: If an argument is not as described, or there are fewer examples than one batch
            needs.
        IndexError: If there is no batch of the index.
    """

    def __init__(
        self,
        data,
        batch_size,
        *,
        augment=None,
        shuffle=True,
        seed=0,
        drop_remainder=False,
    ):
        super().__init__()
        self.data = data
        self.batch_size = check_integer("batch_size", batch_size, minimum=1)
        self.augment = augment
        self.shuffle = check_boolean("shuffle", shuffle)
        self.seed = check_integer("seed", seed, minimum=0)
        self.drop_remainder = check_boolean("drop_remainder", drop_remainder)
        if drop_remainder and batch_size > len(data):
            raise ValueError(
                f"With `drop_remainder` there is no batch of {batch_size} in {len(data)} examples: "
                "use a smaller `batch_size`."
            )
        self.first = 0
        self.epoch = 0

    @property
    def first(self):
        """The index, within the epoch, of the batch that `self[0]` returns.

        It is 0 unless training is resumed in the middle of an epoch. Then the batches before it are
        skipped, and `len` counts only the others.
        """
        return self._first

    @first.setter
    def first(self, value):
        value = check_integer("first", value, minimum=0)
        if value >= self._per_epoch:
            raise ValueError(f"`first` must be less than {self._per_epoch}, got {value}.")
        self._first = value

    @property
    def epoch(self):
        """The epoch of the batches, counted from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, value):
        self._epoch = check_integer("epoch", value, minimum=0)

    def __len__(self):
        return self._per_epoch - self.first

    @property
    def _per_epoch(self):
        if self.drop_remainder:
            return len(self.data) // self.batch_size
        return math.ceil(len(self.data) / self.batch_size)

    def __getitem__(self, index):
        return self.part(index, slice(None))

    def part(self, index, rows):
        """Returns some rows of a batch, equal to those of the whole batch.

        Several processes can share a batch this way. Only these rows are read, unless `augment` is
        a function other than `CropFlip`, which needs the whole batch to draw the same numbers.

        Args:
            index: Integer in [0, len(self)).
            rows: Slice.

        Returns:
            A tuple of images and labels.

        Raises:
            IndexError: If there is no batch of the index.
        """
        return self._make(*self.draw(index), rows)

    def draw(self, index):
        """Returns what batch `index` of the epoch is made from.

        Args:
            index: Integer in [0, len(self)).

        Returns:
            A tuple of the indices of its examples, `(B,)`, and the `np.random.Generator` of its
            augmentation.

        Raises:
            IndexError: If there is no batch of the index.
        """
        self._check_index(index)
        return self._draw(self.epoch, self.first + index)

    def _check_index(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"There are batches 0 to {len(self) - 1}; got {index}.")

    def _draw(self, epoch, number):
        examples = slice(number * self.batch_size, (number + 1) * self.batch_size)
        if self.shuffle:
            examples = _order(self.seed, epoch, len(self.data))[examples]
        else:
            examples = np.arange(*examples.indices(len(self.data)))
        # The order has the last number 0. NumPy ignores zeros at the end of a seed.
        return examples, np.random.default_rng([self.seed, epoch, number + 1])

    def _make(self, examples, rng, rows):
        images, labels = self.data.images, self.data.labels[examples[rows]]
        if self.augment is None:
            return images[examples[rows]], labels
        if type(self.augment) is CropFlip:
            shape = (len(examples), *images.shape[1:])
            positions = self.augment.positions(shape, rng)
            return self.augment.crop(images[examples[rows]], *(p[rows] for p in positions)), labels
        return self.augment(images[examples], rng)[rows], labels


@functools.lru_cache(maxsize=2)
def _order(seed, epoch, count):
    """Returns the order of the examples of an epoch, the same in every process."""
    return np.random.default_rng([seed, epoch, 0]).permutation(count)
