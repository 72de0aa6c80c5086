"""Small models with realistic statistics, exported once for all tests."""

import keras
import numpy as np
import pytest

from aib_keras import export, zoo

NAMES = ("vgg", "vgg_aib_qt", "wrn_aib_qt")
CLASSES = ["ape", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay"]
WIDTH = 0.0625


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
def models(representative_images, settled):
    keras.utils.set_random_seed(0)
    return {
        name: settled(zoo.get(name)(width=WIDTH), representative_images.astype("float32"))
        for name in NAMES
    }


@pytest.fixture(scope="session")
def saved_models(models, tmp_path_factory):
    """Name -> `ExportReport`."""
    folder = tmp_path_factory.mktemp("saved_models")
    return {name: export.to_saved_model(model, folder / name) for name, model in models.items()}


@pytest.fixture(scope="session")
def class_names():
    return CLASSES


@pytest.fixture(scope="session")
def litert_export(models, representative_images, tmp_path_factory):
    """`litert_export(name, quantize)`: the `ExportReport`."""
    folder = tmp_path_factory.mktemp("litert")

    def to_litert(name, quantize):
        return export.to_litert(
            models[name],
            folder / f"{name}_{quantize}.tflite",
            quantize=quantize,
            representative_images=representative_images,
            class_names=CLASSES,
        )

    return to_litert


@pytest.fixture(scope="session")
def litert_models(litert_export):
    """(Name, quantize) -> `ExportReport`, of models that compute in floats."""
    cases = [
        ("vgg", None),
        ("vgg_aib_qt", None),
        ("vgg_aib_qt", "float16"),
        ("wrn_aib_qt", None),
    ]
    return {case: litert_export(*case) for case in cases}


@pytest.fixture(scope="session")
def eight_bit_models(litert_export):
    """(Name, quantize) -> `ExportReport`, of models with 8-bit weights."""
    cases = [("vgg_aib_qt", "dynamic"), ("vgg_aib_qt", "int8"), ("wrn_aib_qt", "int8")]
    return {case: litert_export(*case) for case in cases}


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
