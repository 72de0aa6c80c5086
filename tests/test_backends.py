"""The same tests and outputs on TensorFlow, JAX and torch, each in a process of its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from aib_keras import zoo

REPOSITORY = pathlib.Path(__file__).parents[1]
OTHER_BACKENDS = [
    name for name in ("tensorflow", "jax", "torch") if name != keras.backend.backend()
]
SETTINGS = {
    "vgg_aib_qt": {"width": 0.0625, "latent_dim": 8},
    "wrn_aib_qt": {"width": 0.025, "latent_dim": 8},
}

# Arguments: the zoo model, its settings, the weights, the images, where to write.
EXPLAIN = """
import ast, sys
import numpy as np
from aib_keras import zoo

name, settings, weights, images, path = sys.argv[1:]
model = getattr(zoo, name)(weights=weights, **ast.literal_eval(settings))
np.savez(path, **model.explain(np.load(images)))
"""


def run_on(backend, *arguments):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_the_layers_tests_pass_on(backend):
    run_on(backend, "-m", "pytest", "tests/layers", "-q", "-p", "no:cacheprovider")


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_saved_weights_explain_the_same_on(backend, name, tmp_path):
    model = getattr(zoo, name)(**SETTINGS[name])
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    model.save_weights(tmp_path / "model.weights.h5")
    np.save(tmp_path / "images.npy", images)

    written = [tmp_path / file for file in ("model.weights.h5", "images.npy", "outputs.npz")]
    run_on(backend, "-c", EXPLAIN, name, SETTINGS[name], *written)
    expected = model.explain(images)
    with np.load(tmp_path / "outputs.npz") as found:
        assert set(found) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-4, err_msg=key)
