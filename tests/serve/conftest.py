"""A narrow model served on 127.0.0.1, once for all tests."""

import pathlib

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

from aib_keras import export, zoo

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="session")
def served_path(tmp_path_factory):
    """The SavedModel of a `vgg_aib_qt`, which sees the middle of an image."""
    pytest.importorskip("tensorflow_serving")
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("served") / "birds" / "1"
    export.to_saved_model(zoo.vgg_aib_qt(width=0.0625), path, class_names=CLASSES, crop_pct=0.8)
    return pathlib.Path(path)
