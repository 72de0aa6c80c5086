"""Small models with realistic statistics, each exported once, when a test first asks for it."""

import keras
import numpy as np
import pytest
from small import small_classifier

from aib_keras import export, zoo

NAMES = ("vgg", "vgg_aib_qt", "wrn_aib_qt")
CLASSES = ["ape", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay"]
WIDTH = 0.0625


class _MadeOnce(dict):
    """A dict whose values `make(key)` makes, each when it is first asked for."""

    def __init__(self, make):
        super().__init__()
        self._make = make

    def __missing__(self, key):
        self[key] = self._make(key)
        return self[key]


def smooth_images(count, seed):
    """Uint8 `(count, 32, 32, 3)` with the low frequencies of photographs."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 4, 3))
    images = keras.ops.convert_to_numpy(keras.ops.image.resize(coarse, (32, 32), "bicubic"))
    return np.clip(images + rng.normal(0, 15, images.shape), 0, 255).astype("uint8")


@pytest.fixture(scope="session")
def images():
    return smooth_images(5, seed=1)


@pytest.fixture(scope="session")
def representative_images():
    return smooth_images(32, seed=2)


@pytest.fixture(scope="session")
def made_once():
    """`made_once(make)`: a dict whose values `make(key)` makes when they are first asked for."""
    return _MadeOnce


@pytest.fixture(scope="session")
def models(representative_images, settled):
    """Name -> model."""
    keras.utils.set_random_seed(0)
    return {
        name: settled(zoo.get(name)(width=WIDTH), representative_images.astype("float32"))
        for name in NAMES
    }


@pytest.fixture(scope="session")
def small_model():
    """A quantised one of few layers, for tests of what does not depend on them."""
    keras.utils.set_random_seed(0)
    return small_classifier()


@pytest.fixture(scope="session")
def saved_models(models, tmp_path_factory):
    """Name -> `ExportReport`."""
    folder = tmp_path_factory.mktemp("saved_models")
    return _MadeOnce(lambda name: export.to_saved_model(models[name], folder / name))


@pytest.fixture(scope="session")
def class_names():
    return CLASSES


@pytest.fixture(scope="session")
def litert_models(models, representative_images, tmp_path_factory):
    """(Name, quantize) -> `ExportReport`."""
    folder = tmp_path_factory.mktemp("litert")

    def make(case):
        name, quantize = case
        return export.to_litert(
            models[name],
            folder / f"{name}_{quantize}.tflite",
            quantize=quantize,
            representative_images=representative_images,
            class_names=CLASSES,
        )

    return _MadeOnce(make)


@pytest.fixture(scope="session")
def expected():
    """`expected(model, images)`: what an export has to give, by the model's public interface."""

    def outputs(model, images):
        logits = keras.ops.convert_to_numpy(model(images, training=False))
        maps = model.explain(images) if model.map_names else {}
        return {
            "logits": logits,
            "probabilities": keras.ops.convert_to_numpy(keras.ops.softmax(logits)),
            **{name: maps[name] for name in ("attention", "attention_quantized") if name in maps},
        }

    return outputs
