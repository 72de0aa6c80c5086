import os
import pathlib
import subprocess
import sys
import unittest.mock

import numpy as np
import pytest
from PIL import Image

from aib_keras.data import load, tfds_source
from aib_keras.data.splits import Split

ROOT = pathlib.Path(__file__).parents[2]
TFDS = ROOT.parent / "shared" / "tfds"
needs_tfds = pytest.mark.skipif(not TFDS.is_dir(), reason="../shared/tfds is not there")


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("train", (0, 50)),
        ("train[:45]", (0, 45)),
        ("train[45:]", (45, 50)),
        ("train[-5:]", (45, 50)),
        ("train[10%:90%]", (5, 45)),
        ("train[:-10%]", (0, 45)),
        ("train[33%:]", (16, 50)),
        ("train[:]", (0, 50)),
    ],
)
def test_slices(text, bounds):
    assert Split.parse(text).bounds(50, "x") == bounds


@pytest.mark.parametrize("text", ["", "train[", "train[5]", "train[::2]", "train+test", None])
def test_misspelt_slices(text):
    with pytest.raises(ValueError, match="A split is written"):
        load("cluttered_digits", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train[:51]", "beyond"),
        ("train[101%:]", "beyond"),
        ("train[-51:]", "beyond"),
        ("train[50:]", "empty"),
        ("train[9:3]", "empty"),
    ],
)
def test_impossible_slices(text, message):
    with pytest.raises(ValueError, match=f"{message}.*50 examples"):
        Split.parse(text).bounds(50, "x")


@pytest.mark.parametrize("size", [0, (32,), (32, -1), "32", 3.5, True])
def test_image_size_is_checked(size):
    with pytest.raises(ValueError, match="`image_size` must be"):
        load("cluttered_digits", image_size=size)


def test_size_is_for_digits(tmp_path):
    with pytest.raises(ValueError, match=r"train\[:10\]"):
        load(tmp_path, size=10)


def test_names_that_are_nothing(tmp_path):
    for name in (tmp_path / "no", "./no", "~/no/such"):
        with pytest.raises(FileNotFoundError, match="no"):
            load(name)
    with pytest.raises(FileNotFoundError, match=r"no\.npz"):
        load("no.npz")
    with pytest.raises(ValueError, match=r"\.npz files; got b"):
        load("a.npz,b")
    (tmp_path / "a.zip").write_text("x")
    with pytest.raises(ValueError, match="neither a folder nor"):
        load(tmp_path / "a.zip")


@pytest.mark.parametrize("name", [3, None, b"images", [5], [b"a.npz"]])
def test_names_of_the_wrong_type(name):
    with pytest.raises(TypeError, match="`name` must be a string"):
        load(name)


@pytest.mark.parametrize("name", ["cluttered_digits", "cifar10", "."])
def test_a_data_dir_of_the_wrong_type(name):
    with pytest.raises(TypeError, match="`data_dir` must be a string or a path, got 5"):
        load(name, data_dir=5)


def test_crop_to_box_is_a_boolean():
    with pytest.raises(ValueError, match="`crop_to_box` must be True or False, got 'no'"):
        load("cifar10", crop_to_box="no")


def test_unknown_tfds_names(tmp_path):
    with pytest.raises(ValueError, match=r"Did you mean 'cifar10.*' or") as caught:
        load("cifar_10", data_dir=tmp_path)
    message = str(caught.value)
    assert "If it is a path" in message
    assert len(message) < 400
    (tmp_path / "stray").mkdir()
    with pytest.raises(ValueError, match="no data set 'stray'"):
        load("stray", data_dir=tmp_path)


def test_missing_tfds_says_what_to_install():
    missing = unittest.mock.patch.dict(sys.modules, {"tensorflow_datasets": None})
    advice = r'needs tensorflow_datasets: pip install "aib-keras\[tensorflow,train\]"'
    with missing, pytest.raises(ImportError, match=advice):
        load("cifar10")


@needs_tfds
def test_cifar10(monkeypatch, tmp_path):
    # A folder of the data set's name, of results perhaps, does not hide it.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10").mkdir()
    data = load("cifar10", "test", data_dir=TFDS)
    assert data.images.shape == (10000, 32, 32, 3)
    assert data.class_names[:2] == ("airplane", "automobile")
    assert np.bincount(data.labels).tolist() == [1000] * 10
    part = load("cifar10", "test[90%:]", data_dir=TFDS, image_size=(16, 20))
    assert part.images.shape == (1000, 16, 20, 3)
    np.testing.assert_array_equal(part.labels, data.labels[9000:])
    assert np.abs(part.images.mean((1, 2)) - data.images[9000:].mean((1, 2))).max() < 5
    with pytest.raises(ValueError, match="no split 'valid'; it has 'train', 'test'"):
        load("cifar10", "valid", data_dir=TFDS)


@needs_tfds
def test_cub50_has_boxes_and_several_sizes():
    with pytest.raises(ValueError, match="different sizes: give image_size"):
        load("cub50", "test", data_dir=TFDS)
    data = load("cub50", "test[:40]", data_dir=TFDS, image_size=(64, 80))
    assert data.images.shape == (40, 64, 80, 3)
    assert data.num_classes == 50
    assert (data.boxes >= 0).all()
    assert (data.boxes <= [64, 80, 64, 80]).all()
    assert (data.boxes[:, 2:] - data.boxes[:, :2]).min() > 5


@needs_tfds
def test_cub50_cropped_to_its_boxes():
    whole = load("cub50", "test[:20]", data_dir=TFDS, image_size=256)
    cropped = load("cub50", "test[:20]", data_dir=TFDS, image_size=64, crop_to_box=True)
    assert cropped.boxes is None
    assert cropped.images.shape == (20, 64, 64, 3)
    np.testing.assert_array_equal(cropped.labels, whole.labels)
    for image, crop, box in zip(whole.images, cropped.images, whole.boxes, strict=True):
        y0, x0, y1, x1 = box.round().astype(int)
        expected = Image.fromarray(image[y0:y1, x0:x1]).resize((64, 64), Image.Resampling.BILINEAR)
        # Resized twice is not quite resized once.
        assert np.corrcoef(crop.ravel(), np.asarray(expected).ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), (slice(0, 10), slice(0, 20))),
        ((0.2, 0.25, 0.5, 0.75), (slice(2, 5), slice(5, 15))),
        ((0.25, 0.26, 0.51, 0.52), (slice(2, 6), slice(5, 11))),
        ((-0.5, 0.5, 2.0, 0.5), (slice(0, 10), slice(10, 11))),
        ((1.0, 1.0, 1.0, 1.0), (slice(9, 10), slice(19, 20))),
        ((np.inf, np.inf, -np.inf, -np.inf), (slice(0, 10), slice(0, 20))),
    ],
)
def test_crop_to_box(box, expected):
    image = np.arange(600).astype(np.uint8).reshape(10, 20, 3)
    found = tfds_source.pixels.crop_to_box(image, np.array(box, np.float32))
    np.testing.assert_array_equal(found, image[expected])


def test_only_tfds_sets_with_boxes_are_cropped_to_them(prepared, tmp_path):
    for name in ("cluttered_digits", tmp_path):
        with pytest.raises(ValueError, match="`crop_to_box` is for TFDS") as caught:
            load(name, crop_to_box=True)
        assert "--" not in str(caught.value)
    with pytest.raises(ValueError, match="boxless has no boxes to crop to"):
        load("boxless", data_dir=prepared, crop_to_box=True)
    assert load("boxed", data_dir=prepared, crop_to_box=True).images.shape == (6, 10, 20, 3)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Small TFDS data sets: "boxed", grey with two boxes or none; "boxless"; "unlabelled"."""
    tfds = pytest.importorskip("tensorflow_datasets")
    image = np.full((10, 20, 1), 70, np.uint8)
    two = [[0.1, 0.5, 0.4, 0.7], [0.2, 0.2, 0.8, 0.6]]
    boxes = [np.array(two, np.float32), np.zeros((0, 4), np.float32)]
    folder = tmp_path_factory.mktemp("tfds")
    features = {
        "image": tfds.features.Image(shape=(10, 20, 1)),
        "objects": tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()}),
        "label": tfds.features.ClassLabel(names=["ant", "bee"]),
    }
    examples = [
        {
            "image": image,
            "label": i % 2,
            "objects": [
                {"bbox": tfds.features.BBox(*(float(v) for v in box))} for box in boxes[i % 2]
            ],
        }
        for i in range(6)
    ]
    for name, left_out in (
        ("boxed", ()),
        ("boxless", ("objects",)),
        ("unlabelled", ("label", "objects")),
    ):
        kept = [key for key in features if key not in left_out]
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict({key: features[key] for key in kept}),
            split_datasets={
                "train": [(i, {key: x[key] for key in kept}) for i, x in enumerate(examples)]
            },
            data_dir=folder,
            disable_shuffling=True,
        )
    return folder


def test_tfds_grey_images_and_several_objects(prepared):
    data = load("boxed", "train[1:]", data_dir=prepared)
    assert data.class_names == ("ant", "bee")
    assert data.labels.tolist() == [1, 0, 1, 0, 1]
    assert data.images.shape == (5, 10, 20, 3)
    assert (data.images == 70).all()
    np.testing.assert_allclose(data.boxes[:2], [[0, 0, 10, 20], [1, 4, 8, 14]], rtol=1e-5)


def test_tfds_memory_is_guarded(prepared, monkeypatch):
    monkeypatch.setattr(tfds_source.pixels, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="6 images of 10x20.* or stream=True"):
        load("boxed", data_dir=prepared, stream=False)


def test_tfds_without_labels(prepared):
    with pytest.raises(ValueError, match="no feature 'label'.*features are image"):
        load("unlabelled", data_dir=prepared)


def test_tfds_downloads_only_what_is_missing(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    with unittest.mock.patch.object(
        tfds.core.DatasetBuilder, "download_and_prepare", side_effect=OSError("no network")
    ):
        # The alias leads to the data set's real name.
        with pytest.raises(OSError, match="svhn is not prepared.*no network.*data_dir"):
            load("svhn", data_dir=tmp_path)
        assert not list(tmp_path.iterdir())


def test_without_tensorflow(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=[0, 1, 0, 1])
    for i, image in enumerate(images):
        folder = tmp_path / "images" / str(i % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    program = """
import sys
sys.modules["tensorflow"] = sys.modules["sklearn"] = None
from aib_keras.data import AugmentedBatches, CropFlip, load
try:
    load("cluttered_digits", size=3)
except ImportError as error:
    print(error)
del sys.modules["sklearn"]
for name, arguments in (("d.npz", {}), ("images", {}), ("cluttered_digits", {"size": 3})):
    data = load(name, **arguments)
    print(len(data), AugmentedBatches(data, 2, augment=CropFlip(2))[0][0].shape)
try:
    load("cifar10")
except ImportError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == 'cluttered_digits needs sklearn: pip install "aib-keras[train]".'
    assert lines[1:4] == ["4 (2, 8, 8, 3)", "2 (2, 8, 8, 3)", "3 (2, 32, 32, 3)"]
    assert 'needs tensorflow: pip install "aib-keras[tensorflow,train]"' in lines[4]
