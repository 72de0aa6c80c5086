"""Images per second of the augmenting input pipeline, in memory and streamed.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --num_workers=8
    python benchmarks/input_pipeline.py --data_dir=~/tensorflow_datasets

All take turns in one run, so that other load on the machine slows each of them, and their medians
are compared. Besides the augmented batches in memory there are plain slices of the same array, the
same batches read ahead by Grain from memory, which shows what Grain costs, and from image files,
which have to be decoded. Without --data_dir the images are random and have the shape of CIFAR's.
"""

import pathlib
import statistics
import tempfile
import time

import numpy as np
from absl import app, flags
from PIL import Image

from aib_keras.data import (
    AugmentedBatches,
    CropFlip,
    ImageData,
    StreamedBatches,
    load,
    load_files,
)

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS has CIFAR-10; random images if unset")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 20_000, "Random images to make", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per batch", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Passes of each pipeline", lower_bound=1)
_TARGET = flags.DEFINE_float("target", 20_000, "Images per second that are wanted")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 0, "Processes that read the files; 0: threads", lower_bound=0
)
_IN_MEMORY, _SLICES = "in memory", "plain slices"


def main(_):
    data = _data()
    with tempfile.TemporaryDirectory() as folder:
        files = _files(data, pathlib.Path(folder))
        settings = {"batch_size": _BATCH_SIZE.value, "augment": CropFlip()}
        readers = f"{_NUM_WORKERS.value} processes" if _NUM_WORKERS.value else "threads"
        pipelines = {
            _IN_MEMORY: AugmentedBatches(data, **settings),
            "streamed from memory": StreamedBatches(data, **settings),
            f"streamed from PNG files, {readers}": StreamedBatches(
                files, num_workers=_NUM_WORKERS.value, **settings
            ),
        }
        # Processes take seconds to start, once per training.
        for batches in pipelines.values():
            batches[0]
        speeds = {name: [] for name in (*pipelines, _SLICES)}
        for epoch in range(_ROUNDS.value):
            for name, batches in pipelines.items():
                batches.epoch = epoch
                speeds[name].append(_images_per_second(batches))
            speeds[_SLICES].append(_images_per_second(_slices(data)))
        for batches in pipelines.values():
            if isinstance(batches, StreamedBatches):
                batches.close()
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    print(f"{data}, batches of {_BATCH_SIZE.value}, median of {_ROUNDS.value} rounds")
    for name, speed in medians.items():
        ratio = speed / medians[_IN_MEMORY]
        print(f"{name:40} {speed:10,.0f} images/s {ratio:8.4f} of {_IN_MEMORY}")
    reached = "yes" if medians[_IN_MEMORY] >= _TARGET.value else "NO"
    print(f"at least {_TARGET.value:,.0f} images/s in memory: {reached}")


def _data():
    if _DATA_DIR.value is not None:
        return load("cifar10", "train", data_dir=_DATA_DIR.value)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(_NUM_IMAGES.value, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, size=_NUM_IMAGES.value, dtype=np.int32)
    return ImageData(images, labels, tuple("0123456789"), name="random")


def _files(data, folder):
    """Saves the images and returns them as streamed from their files."""
    paths = [folder / f"{index}.png" for index in range(len(data))]
    for path, image in zip(paths, data.images, strict=True):
        Image.fromarray(image).save(path, compress_level=1)
    return load_files(paths, data.labels, data.class_names, stream=True)


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
