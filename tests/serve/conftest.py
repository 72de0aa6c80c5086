"""A small model served on 127.0.0.1, once for all tests."""

import pathlib

import keras
import pytest
from small import small_classifier

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

from aib_keras import export

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="session")
def served_path(tmp_path_factory):
    """The SavedModel of a model that sees the middle of an image."""
    pytest.importorskip("tensorflow_serving")
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("served") / "birds" / "1"
    export.to_saved_model(small_classifier(), path, class_names=CLASSES, crop_pct=0.8)
    return pathlib.Path(path)
