"""The same weights explain the same on TensorFlow, JAX and torch, each in its own process."""

import importlib.util
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from backends import environment

from aib_keras import zoo

REPOSITORY = pathlib.Path(__file__).parents[1]
OTHER_BACKENDS = [
    name for name in ("tensorflow", "jax", "torch") if name != keras.backend.backend()
]
SETTINGS = {
    "vgg_aib_qt": {"width": 0.0625, "latent_dim": 8},
    "wrn_aib_qt": {"width": 0.025, "latent_dim": 8},
}

# Arguments: the models with their settings, and the folder of their weights and of the images.
EXPLAIN = """
import ast, sys
import numpy as np
from aib_keras import zoo

models, folder = ast.literal_eval(sys.argv[1]), sys.argv[2]
for name, settings in models.items():
    model = getattr(zoo, name)(weights=f"{folder}/{name}.weights.h5", **settings)
    np.savez(f"{folder}/{name}.npz", **model.explain(np.load(f"{folder}/images.npy")))
"""


def run_on(backend, *arguments):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment(backend),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_saved_weights_explain_the_same_on(backend, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for name, settings in SETTINGS.items():
        model = getattr(zoo, name)(**settings)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = model.explain(images)

    run_on(backend, "-c", EXPLAIN, SETTINGS, tmp_path)
    for name, values in expected.items():
        with np.load(tmp_path / f"{name}.npz") as found:
            assert set(found) == set(values)
            for key, value in values.items():
                np.testing.assert_allclose(
                    found[key], value, rtol=1e-4, atol=1e-4, err_msg=f"{name} {key}"
                )
