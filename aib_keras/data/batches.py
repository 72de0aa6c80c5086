"""Augmented batches that are the same when a run is resumed."""

import math

import keras
import numpy as np


class CropFlip:
    """The paper's augmentation: crop at a random place, flip.

    On 32x32 images the crop is of the size of the image, out of the image padded by reflection; on
    larger ones it is smaller, without padding. Each image has its own place and its own flip.

    Args:
        padding: Pixels added on each side by reflection, without repeating the edge.
        flip: Whether half of the images are mirrored left to right. Turn it off where that
            changes the meaning, as with digits.
        size: (height, width) of the crops; None for that of the images.

    Call with uint8 images (B, H, W, C) and a `np.random.Generator`; returns images
    (B, height, width, C). Raises `ValueError` if `padding` is not less than the images' sides, or
    the padded images are smaller than `size`.
    """

    def __init__(self, padding=4, flip=True, size=None):
        if not isinstance(padding, (int, np.integer)) or padding < 0:
            raise ValueError(f"padding must be an integer of at least 0; got {padding!r}.")
        self.padding = padding
        self.flip = flip
        self.size = size

    def __call__(self, images, rng):
        count, height, width, channels = images.shape
        if self.padding >= min(height, width):
            raise ValueError(
                f"Reflection cannot pad {height}x{width} images by {self.padding} pixels; "
                "padding must be less than each side."
            )
        size = self.size or (height, width)
        room = np.array([height, width]) + self.padding - np.array(size)
        if min(room) < -self.padding:
            raise ValueError(
                f"Crops of {size[0]}x{size[1]} do not fit into {height}x{width} images padded by "
                f"{self.padding} pixels; make `size` smaller or the images larger."
            )
        start = rng.integers(-self.padding, room[:, None, None] + 1, size=(2, count, 1))
        rows = _reflect(np.arange(size[0]) + start[0], height)
        columns = _reflect(np.arange(size[1]) + start[1], width)
        if self.flip:
            mirrored = rng.random((count, 1)) < 0.5
            columns = np.where(mirrored, columns[:, ::-1], columns)
        # One gather of whole pixels is several times faster than padding and cropping each image.
        first = np.arange(count)[:, None] * height
        pixels = (first + rows)[:, :, None] * width + columns[:, None, :]
        crops = images.reshape(-1, channels).take(pixels.ravel(), axis=0)
        return crops.reshape(count, *size, channels)


def _reflect(positions, size):
    """Positions mirrored at 0 and at size - 1, as np.pad's mode "reflect" does."""
    positions = np.abs(positions)
    return size - 1 - np.abs(size - 1 - positions)


class AugmentedBatches(keras.utils.PyDataset):
    """Batches of uint8 images (B, H, W, 3) and int32 labels (B,).

    The order and the augmentation are functions of the seed, the epoch and the batch's number.
    Nothing here advances `epoch`: a training callback sets it at the beginning of each epoch, and
    a run that resumes at epoch 30 then sees what it would have seen without the break.

    Keras's `fit` shuffles the order of the batches by itself, from a global random state, unless
    it is called with `shuffle=False`: do so. Do not give it `steps_per_epoch`, which lets batches
    be made before the epoch is set. There is no `workers` argument because with several of them
    `fit` on JAX and torch does not train on the batches of the epoch that the callback sets.

    Args:
        data: An `ImageData`.
        batch_size: Examples a batch; the last one is smaller unless `drop_remainder`.
        augment: Optional function of (images, `np.random.Generator`), such as `CropFlip()`.
        shuffle: Whether each epoch has its own order.
        seed: Non-negative int.
        drop_remainder: Whether to leave out the last batch if it is smaller.

    Raises:
        ValueError: If an argument is not as described, or there is less than one batch.
        IndexError: If a batch is asked for that does not exist.
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
        _check_count("batch_size", batch_size, 1)
        _check_count("seed", seed, 0)
        if drop_remainder and batch_size > len(data):
            raise ValueError(
                f"With drop_remainder there is no batch of {batch_size} in {len(data)} examples."
            )
        self.data = data
        self.batch_size = batch_size
        self.augment = augment
        self.shuffle = shuffle
        self.seed = seed
        self.drop_remainder = drop_remainder
        self.epoch = 0

    @property
    def epoch(self):
        """The epoch, from 0, whose batches these are."""
        return self._epoch_and_order[0]

    @epoch.setter
    def epoch(self, value):
        _check_count("epoch", value, 0)
        if self.shuffle:
            order = np.random.default_rng([self.seed, value, 0]).permutation(len(self.data))
        else:
            order = np.arange(len(self.data))
        # Both at once: TensorFlow reads from a thread of its own.
        self._epoch_and_order = (value, order)

    def __len__(self):
        if self.drop_remainder:
            return len(self.data) // self.batch_size
        return math.ceil(len(self.data) / self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"There are batches 0 to {len(self) - 1}; got {index}.")
        epoch, order = self._epoch_and_order
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        images, labels = self.data.images[chosen], self.data.labels[chosen]
        if self.augment is not None:
            # Zeros at the end of a seed are ignored, so 0 is left to the order alone.
            images = self.augment(images, np.random.default_rng([self.seed, epoch, index + 1]))
        return images, labels


def _check_count(name, value, least):
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")
