"""Streamed images: the same pixels, labels, boxes and batches as in memory."""

import os
import pathlib
import pickle
import subprocess
import sys
import time
import unittest.mock

import numpy as np
import pytest
from PIL import Image

from aib_keras import data
from aib_keras.data import pixels

TFDS = pathlib.Path(__file__).parents[3] / "shared" / "tfds"

pytest.importorskip("grain")


class Made:
    """Images that are made when they are read."""

    def __init__(self, count=50, shape=(12, 10, 3), dtype=np.uint8):
        self.count, self.shape, self.dtype = count, shape, dtype

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, self.shape)
        return image.astype(self.dtype)


def made(count=50, **boxes):
    labels = np.arange(count, dtype=np.int32) % 3
    return data.StreamedImageData(Made(count), labels, ("a", "b", "c"), name="made", **boxes)


@pytest.fixture
def root(tmp_path):
    """Two classes of 20 images of noise."""
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for i in range(20):
            image = rng.integers(0, 256, (9, 11, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    return tmp_path


def assert_same(streamed, memory):
    assert isinstance(streamed, data.StreamedImageData)
    assert not isinstance(memory, data.StreamedImageData)
    assert streamed.class_names == memory.class_names
    assert streamed.name == memory.name
    assert streamed.input_shape == memory.input_shape
    np.testing.assert_array_equal(streamed.labels, memory.labels)
    np.testing.assert_array_equal(streamed.images[:], memory.images)
    assert (streamed.boxes is None) == (memory.boxes is None)
    if memory.boxes is not None:
        np.testing.assert_array_equal(streamed.boxes, memory.boxes)


def assert_same_batches(streamed, memory, places):
    for epoch, index in places:
        streamed.epoch = memory.epoch = epoch
        for found, expected in zip(streamed[index], memory[index], strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


@pytest.mark.parametrize("image_size", [None, (8, 6)])
def test_folders(root, image_size):
    for split in ("train", "train[3:9]", "test"):
        assert_same(
            data.load(root, split, image_size=image_size, stream=True),
            data.load(root, split, image_size=image_size),
        )


def test_files(root):
    paths = [root / "bee" / "3.png", str(root / "ant" / "1.png"), root / "bee" / "0.png"]
    streamed, memory = (
        data.load_files(paths, [1, 0, 1], ["ant", "bee"], stream=stream) for stream in (True, None)
    )
    assert_same(streamed, memory)
    assert memory.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(memory.images[1], pixels.decode(paths[1]))
    assert data.load_files(paths, [1, 0, 2]).class_names == ("0", "1", "2")
    with pytest.raises(ValueError, match="3 files and labels of int64 .2,."):
        data.load_files(paths, [0, 1])
    with pytest.raises(FileNotFoundError, match=r"no file .*9\.jpg"):
        data.load_files([*paths, root / "9.jpg"], [0, 1, 0, 1])


@pytest.mark.skipif(not TFDS.is_dir(), reason="../shared/tfds is not there")
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cifar10", {}),
        ("cub50", {"image_size": 48}),
        ("cub50", {"image_size": 48, "crop_to_box": True}),
    ],
)
def test_tfds(name, settings):
    streamed, memory = (
        data.load(name, "test[5:25]", data_dir=TFDS, stream=stream, **settings)
        for stream in (True, None)
    )
    assert_same(pickle.loads(pickle.dumps(streamed)), memory)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_tfds_in_several_files(file_format, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    rng = np.random.default_rng(0)
    examples = [
        {
            "image": rng.integers(0, 256, (10, 20, 3), np.uint8),
            "label": i % 2,
            "objects": [{"bbox": tfds.features.BBox(0.1, 0.2, 0.3 + i / 100, 0.9)}] * (i % 3),
        }
        for i in range(40)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="boxed",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(10, 20, 3)),
                "objects": tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()}),
                "label": tfds.features.ClassLabel(names=["ant", "bee"]),
            }
        ),
        split_datasets={"train": list(enumerate(examples))},
        data_dir=tmp_path,
        file_format=file_format,
        download_config=tfds.download.DownloadConfig(num_shards=3),
        disable_shuffling=True,
    )
    assert len(list(tmp_path.glob(f"boxed/*/*.{file_format}-*"))) == 3
    streamed, memory = (
        data.load("boxed", "train[2:]", data_dir=tmp_path, stream=stream) for stream in (True, None)
    )
    assert_same(streamed, memory)
    for image, example in zip(memory.images, examples[2:], strict=True):
        np.testing.assert_array_equal(image, example["image"])
    assert memory.labels.tolist() == [example["label"] for example in examples[2:]]

    if file_format == "tfrecord":
        last = sorted(tmp_path.glob("boxed/*/*.tfrecord-*"))[-1]
        last.write_bytes(last.read_bytes()[:-1])
        with pytest.raises(ValueError, match="not a complete TFRecord file"):
            data.load("boxed", data_dir=tmp_path, stream=True)


def test_images_too_many_for_the_memory_are_streamed(root, monkeypatch):
    assert not isinstance(data.load(root), data.StreamedImageData)
    monkeypatch.setattr(pixels, "MAX_BYTES", 1000)
    assert isinstance(data.load(root), data.StreamedImageData)
    with pytest.raises(ValueError, match="more than the .* or stream=True"):
        data.load(root, stream=False)
    missing = unittest.mock.patch.dict(sys.modules, {"grain": None})
    with missing, pytest.raises(ImportError, match=r"needs grain: pip install .*\[stream\]"):
        data.load(root)


@pytest.mark.parametrize("name", ["cluttered_digits", "there.npz"])
def test_what_cannot_be_streamed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 5, 5, 3), np.uint8)
    np.savez("there.npz", x_train=images, y_train=[0, 1, 0, 1])
    with pytest.raises(ValueError, match="`stream` is for folders of images and TFDS"):
        data.load(name, stream=True)
    assert not isinstance(data.load(name), data.StreamedImageData)
    with pytest.raises(ValueError, match="`stream` must be True or False, got 1"):
        data.load(name, stream=1)


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        np.int64(7),
        slice(2, 9, 3),
        slice(None),
        [4, 1, -2],
        [],
        np.array([5, 5]),
        np.arange(50) % 7 == 0,
    ],
    ids=str,
)
def test_indices_are_those_of_an_array(key):
    images = made().images
    expected = np.stack([Made()[index] for index in range(50)])
    # NumPy takes an empty list for floats.
    array_key = np.array(key, int) if isinstance(key, list) else key
    np.testing.assert_array_equal(images[key], expected[array_key])


def test_indices_beyond_the_images():
    for key in (50, -51, [3, 50]):
        with pytest.raises(IndexError, match="There are images 0 to 49"):
            made().images[key]


def test_parts_and_crops():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 5, (50, 2))
    boxes = np.concatenate([low, low + 5], axis=1).astype(np.float32)
    streamed = made(boxes=boxes)
    memory = streamed.in_memory()
    assert_same(streamed, memory)
    assert_same(streamed.take(7), memory.take(7))
    for found, expected in zip(streamed.hold_out(9), memory.hold_out(9), strict=True):
        assert_same(found, expected)
    assert_same(streamed.slice(5, 30).center_crop((8, 9)), memory.slice(5, 30).center_crop((8, 9)))
    assert "StreamedImageData('made': 50 images" in repr(streamed)
    with pytest.raises(ValueError, match="made: cannot crop"):
        streamed.center_crop(99)


def test_sources_that_do_not_work():
    labels, names = np.zeros(50, np.int32), ("a", "b")
    with pytest.raises(TypeError, match="source with __len__ and __getitem__; got int"):
        data.StreamedImageData(5, labels, names)
    with pytest.raises(ValueError, match="made has no images"):
        data.StreamedImageData([], labels, names, name="made")
    with pytest.raises(TypeError, match="Image 0 of made must be a NumPy array of uint8; got int"):
        data.StreamedImageData(Made(dtype=np.int64), labels, names, name="made")
    with pytest.raises(ValueError, match=r"Image 0 of made must have the shape \(H, W, 3\)"):
        data.StreamedImageData(Made(shape=(12, 10)), labels, names, name="made")
    with pytest.raises(ValueError, match=r"labels must have shape \(49\); got \(50,\)"):
        data.StreamedImageData(Made(49), labels, names)
    uneven = [Made()[0], Made(shape=(12, 9, 3))[0]]
    streamed = data.StreamedImageData(uneven, labels[:2], names)
    with pytest.raises(ValueError, match=r"Image 1 of the source must have the shape \(12, 10, 3"):
        streamed.images[1]


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_batches_are_those_of_images_in_memory(drop_remainder):
    settings = {
        "augment": data.CropFlip(padding=2, size=(8, 10)),
        "seed": 3,
        "drop_remainder": drop_remainder,
    }
    streamed = data.StreamedBatches(made(), 8, **settings)
    memory = data.AugmentedBatches(made().in_memory(), 8, **settings)
    assert len(streamed) == len(memory) == (6 if drop_remainder else 7)
    in_order = [(epoch, index) for epoch in (2, 3) for index in range(len(memory))]
    assert_same_batches(streamed, memory, in_order)
    assert_same_batches(streamed, memory, [(0, 4), (0, 2), (9, 2), (9, 3), (0, 0)])
    streamed.close()
    assert_same_batches(streamed, memory, [(0, 1)])
    with pytest.raises(IndexError, match="There are batches 0 to"):
        streamed[len(memory)]


def test_the_reading_goes_on_where_keras_reads_in_order(monkeypatch):
    starts = []
    original = data.StreamedBatches._read_from
    monkeypatch.setattr(
        data.StreamedBatches,
        "_read_from",
        lambda self, place: (starts.append(place), original(self, place))[1],
    )
    streamed = data.StreamedBatches(made(), 8)
    memory = data.AugmentedBatches(made().in_memory(), 8)
    # Two that Keras looks at, and then all, epoch by epoch, from the middle of the first one.
    streamed.first = memory.first = 2
    assert_same_batches(streamed, memory, [(4, 0), (4, 1), (4, 0), *((4, i) for i in range(5))])
    streamed.first = memory.first = 0
    assert_same_batches(streamed, memory, [(5, i) for i in range(7)])
    assert starts == [4 * 7 + 2]
    # An evaluation has the same batches in each epoch.
    streamed = data.StreamedBatches(made(), 8, shuffle=False)
    memory = data.AugmentedBatches(made().in_memory(), 8, shuffle=False)
    assert_same_batches(streamed, memory, [(0, i) for i in (0, 1, *range(7), *range(7))])
    assert starts[1:] == [0]


def test_the_first_batch_of_a_resumed_epoch():
    batches = data.AugmentedBatches(made().in_memory(), 8, seed=1)
    whole = [batches[index] for index in range(7)]
    batches.first = 5
    assert len(batches) == 2
    for index in range(2):
        np.testing.assert_array_equal(batches[index][0], whole[5 + index][0])
    with pytest.raises(IndexError, match="0 to 1; got 2"):
        batches[2]
    for wrong in (7, -1, 1.5):
        with pytest.raises(ValueError, match="`first`"):
            batches.first = wrong


def test_errors_of_a_source_come_through():
    class Broken(Made):
        def __getitem__(self, index):
            if index == 20:
                raise ValueError("the disk is gone")
            return super().__getitem__(index)

    streamed = data.StreamedImageData(Broken(), np.zeros(50, np.int32), ("a", "b"))
    batches = data.StreamedBatches(streamed, 8, shuffle=False)
    with pytest.raises(ValueError, match="the disk is gone"):
        list(batches)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 3])
def test_worker_processes_make_the_same_batches(root, num_workers):
    settings = {"augment": data.CropFlip(padding=2), "seed": 3}
    streamed = data.StreamedBatches(
        data.load(root, stream=True), 8, num_workers=num_workers, **settings
    )
    memory = data.AugmentedBatches(data.load(root), 8, **settings)
    try:
        in_order = [(epoch, index) for epoch in (2, 3) for index in range(len(memory))]
        assert_same_batches(streamed, memory, in_order)
    finally:
        streamed.close()


_ENDLESS = """
import numpy as np
from aib_keras import data

if __name__ == "__main__":
    images = [np.zeros((4, 4, 3), np.uint8)] * 64
    streamed = data.StreamedImageData(images, np.arange(64, dtype=np.int32) % 2, ("a", "b"))
    batches = data.StreamedBatches(streamed, 8, num_workers=2)
    batches[0]
    import multiprocessing
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    input()
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self").exists(), reason="processes are seen in /proc")
def test_worker_processes_end_with_a_training_that_is_killed(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(_ENDLESS)
    process = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    workers = process.stdout.readline().split()
    assert len(workers) == 2
    process.kill()
    process.communicate()
    for worker in workers:
        _wait_for_the_end_of(worker)


def _wait_for_the_end_of(pid):
    deadline = time.monotonic() + 60
    while pathlib.Path("/proc", pid).exists():
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.1)
