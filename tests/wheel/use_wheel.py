"""What a user does with the installed wheel, in an environment of JAX alone.

Usage: python use_wheel.py, outside the checkout, with KERAS_BACKEND=jax. check_wheel.py runs it.
"""

import importlib.util
import json
import pathlib
import sys
import tempfile

import keras
import numpy as np

import aib_keras
from aib_keras import zoo


def main():
    check_environment()
    check_model()
    check_index()
    check_weights()
    check_missing_extra()


def check_environment():
    for name in ("tensorflow", "matplotlib", "sklearn"):
        assert importlib.util.find_spec(name) is None, f"{name} is installed"
    package = pathlib.Path(aib_keras.__file__)
    assert package.is_relative_to(sys.prefix), f"{package} is not the wheel's"


def check_model():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    model = zoo.vgg_aib_qt(width=0.0625)
    explanation = model.explain(images)
    assert explanation["attention"].shape[0] == 2
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
    again = loaded.explain(images)
    assert again.keys() == explanation.keys()
    for name, values in explanation.items():
        np.testing.assert_allclose(again[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    logits = [keras.ops.convert_to_numpy(a_model(images)) for a_model in (model, loaded)]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-6)


def check_index():
    assert "vgg_aib_qt" in zoo.list_models()
    index = json.loads((pathlib.Path(zoo.__file__).parent / "index.json").read_text())
    message = error_of(ValueError, lambda: zoo.vgg_aib_qt(width=0.0625, weights="no such data"))
    assert "no such data" in message, message
    missing = [name for name in index if name not in message]
    assert not missing, f"the error does not list {missing}: {message}"


def check_weights():
    """The README's first example: bundled weights, without a network."""
    for name in zoo.list_models(weights=True):
        for entry in zoo.weights(name):
            if entry.bundled:
                model = zoo.create(name, weights=entry.name)
                images = np.zeros((1, *entry.settings["input_shape"]), "uint8")
                [best] = zoo.decode_predictions(model(images), entry.class_names, top=1)
                assert best[0][0] in entry.class_names
                assert np.isfinite(model.explain(images)["logits"]).all()
            else:
                message = error_of(
                    ValueError, lambda n=name, e=entry: zoo.create(n, weights=e.name)
                )
                assert "AIB_KERAS_ZOO" in message, message


def check_missing_extra():
    message = error_of(ImportError, lambda: aib_keras.data.load("cluttered_digits", "train"))
    assert 'pip install "aib-keras[train]"' in message, message


def error_of(kind, function):
    try:
        function()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


main()
