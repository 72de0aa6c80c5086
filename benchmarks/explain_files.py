"""Images per second of `aib-keras explain`: a plain loop, one and two workers of Ray.

    python benchmarks/explain_files.py
    python benchmarks/explain_files.py --model=vgg_aib_qt --weights=cifar10 --num_images=20000

All take turns in one run, so that other load on the machine slows each of them, and their medians
are compared with the bare SavedModel: the same calls of it on files that are in memory already,
without rows or Parquet. The plain loop and the bare model run on one thread, as a worker does.
The time of the workers is that between the first and the last part, without the start of Ray.
"""

import pathlib
import statistics
import tempfile
import time

import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image

from aib_keras import export, zoo
from aib_serve import bulk

_MODEL = flags.DEFINE_string("model", "vgg_aib_qt", "Model of the zoo")
_WEIGHTS = flags.DEFINE_string("weights", "digits", "Its published weights")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 20_000, "JPEG files to make", lower_bound=1)
_PART_SIZE = flags.DEFINE_integer("part_size", 1_000, "Images per Parquet file", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Passes of each", lower_bound=1)
_BATCH = 64
_BARE = "SavedModel alone"


def main(_):
    parts, rest = divmod(_NUM_IMAGES.value, _PART_SIZE.value)
    if rest or parts < 3:
        raise app.UsageError(
            f"--num_images={_NUM_IMAGES.value}: expected a multiple of --part_size="
            f"{_PART_SIZE.value}, and at least 3 parts: the first of each worker is not timed."
        )
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # As for a worker of Ray, and before TensorFlow's first operation.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        model = zoo.create(_MODEL.value, weights=_WEIGHTS.value)
        export.to_saved_model(model, folder / "model")
        entries = {entry.name: entry for entry in zoo.weights(_MODEL.value)}
        size = entries[_WEIGHTS.value].settings["input_shape"][:2]
        images = _images(folder / "images", size)
        worker = bulk.Worker(folder / "model")
        runs = {
            _BARE: lambda out: _bare(worker, images),
            "plain loop": lambda out: _plain(worker, images, out),
            "one worker": lambda out: _workers(folder, images, out, 1),
            "two workers": lambda out: _workers(folder, images, out, 2),
        }
        speeds = {name: [] for name in runs}
        for number in range(_ROUNDS.value):
            for name, run in runs.items():
                speeds[name].append(run(folder / f"{name}-{number}"))
    print(
        f"{_MODEL.value} ({_WEIGHTS.value}), {_NUM_IMAGES.value:,} JPEG files, median of "
        f"{_ROUNDS.value} rounds"
    )
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    for name, speed in medians.items():
        print(f"{name:20} {speed:10,.0f} images/s {speed / medians[_BARE]:8.2f} of {_BARE}")


def _images(folder, size):
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for number in range(_NUM_IMAGES.value):
        files.append(str(folder / f"{number:06d}.jpg"))
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype="uint8")).save(files[-1])
    return files


def _bare(worker, files):
    contents = [pathlib.Path(file).read_bytes() for file in files]
    start = time.perf_counter()
    for first in range(0, len(contents), _BATCH):
        worker.classify(image_bytes=worker.tf.constant(contents[first : first + _BATCH]))
    return len(files) / (time.perf_counter() - start)


def _plain(worker, files, out):
    out.mkdir()
    start = time.perf_counter()
    for first in range(0, len(files), _PART_SIZE.value):
        part = files[first : first + _PART_SIZE.value]
        worker({"path": str(out / f"{first}.parquet"), "files": part})
    return len(files) / (time.perf_counter() - start)


def _workers(folder, files, out, count):
    """Returns files per second, from when each worker has done a part. All parts are full."""
    bulk.explain_files(
        files, folder / "model", out, _PART_SIZE.value, workers=count, progress=False
    )
    written = sorted(path.stat().st_mtime for path in out.glob("part-*"))
    # Each worker's first part is done about when the first is.
    return _PART_SIZE.value * (len(written) - count) / (written[-1] - written[count - 1])


if __name__ == "__main__":
    app.run(main)
