"""Images per second of the augmenting input pipeline, and of plain slices of the same array.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --data_dir=~/tensorflow_datasets

The two take turns in one run, so that other load on the machine slows both, and their medians are
compared. Without --data_dir the images are random and have the shape of CIFAR's.
"""

import statistics
import time

import numpy as np
from absl import app, flags

from aib_keras.data import AugmentedBatches, CropFlip, ImageData, load

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS has CIFAR-10; random images if unset")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 20_000, "Random images to make", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per batch", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Passes of each pipeline", lower_bound=1)
_TARGET = flags.DEFINE_float("target", 20_000, "Images per second that are wanted")


def main(_):
    data = _data()
    batches = AugmentedBatches(data, _BATCH_SIZE.value, augment=CropFlip())
    augmented, plain = [], []
    for epoch in range(_ROUNDS.value):
        batches.epoch = epoch
        augmented.append(_images_per_second(batches))
        plain.append(_images_per_second(_slices(data)))
    speed, reference = statistics.median(augmented), statistics.median(plain)
    print(f"{data}, batches of {_BATCH_SIZE.value}, median of {_ROUNDS.value} rounds")
    print(f"shuffle, crop, flip  {speed:12,.0f} images/s")
    print(f"plain slices         {reference:12,.0f} images/s")
    print(f"ratio                {speed / reference:12.4f}")
    print(f"at least {_TARGET.value:,.0f} images/s: {'yes' if speed >= _TARGET.value else 'NO'}")


def _data():
    if _DATA_DIR.value is not None:
        return load("cifar10", "train", data_dir=_DATA_DIR.value)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(_NUM_IMAGES.value, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, size=_NUM_IMAGES.value, dtype=np.int32)
    return ImageData(images, labels, tuple("0123456789"), name="random")


def _slices(data):
    for start in range(0, len(data), _BATCH_SIZE.value):
        chosen = slice(start, start + _BATCH_SIZE.value)
        # Batches for a device are copies too. A view would cost nothing.
        yield data.images[chosen].copy(), data.labels[chosen].copy()


def _images_per_second(batches):
    start = time.perf_counter()
    count = sum(len(labels) for _, labels in batches)
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    app.run(main)
