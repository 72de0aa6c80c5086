"""The same weights explain the same on TensorFlow, JAX and torch, each in its own process."""

import importlib.util
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from backends import environment
from small import small_classifier

from aib_keras import explain, zoo

REPOSITORY = pathlib.Path(__file__).parents[1]
OTHER_BACKENDS = [
    name for name in ("tensorflow", "jax", "torch") if name != keras.backend.backend()
]
SETTINGS = {
    "vgg_aib_qt": {"width": 0.0625, "latent_dim": 8},
    "wrn_aib_qt": {"width": 0.025, "latent_dim": 8},
}
# The Wide-ResNet is deep: JAX compiles it for long.
NAMES = ["vgg_aib_qt", pytest.param("wrn_aib_qt", marks=pytest.mark.slow)]

# Arguments: the model's name, its settings, and the folder of its weights and of the images.
EXPLAIN = """
import ast, sys
import keras
import numpy as np
from aib_keras import zoo

name, settings, folder = sys.argv[1], ast.literal_eval(sys.argv[2]), sys.argv[3]
model = zoo.create(name, weights=f"{folder}/model.weights.h5", **settings)
images = np.load(f"{folder}/images.npy")
called = keras.ops.convert_to_numpy(model(images))
np.savez(f"{folder}/found.npz", called=called, **model.explain(images))
"""


# The same for attacks, of a model with few layers.
ATTACK = """
import sys
import numpy as np
from aib_keras import explain
from small import small_classifier

model, folder = small_classifier(), sys.argv[1]
images, labels = np.load(f"{folder}/images.npy"), np.arange(4)
model(images)
model.load_weights(f"{folder}/model.weights.h5")
sampled = explain.pgd(model, images, labels, 4, steps=2, samples=2)
np.testing.assert_array_equal(
    sampled, explain.pgd(model, images, labels, 4, steps=2, samples=2, batch_size=4)
)
np.savez(f"{folder}/found.npz", fgsm=explain.fgsm(model, images, labels, 4), pgd=sampled)
"""


def run_on(backend, *arguments):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**environment(backend), "PYTHONPATH": str(REPOSITORY / "tests")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_saved_weights_explain_the_same_on(backend, name, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    model = zoo.create(name, **SETTINGS[name])
    model.save_weights(tmp_path / "model.weights.h5")
    expected = model.explain(images)
    expected["called"] = expected["logits"]

    run_on(backend, "-c", EXPLAIN, name, SETTINGS[name], tmp_path)
    with np.load(tmp_path / "found.npz") as found:
        assert set(found) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-4, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_attacks_are_the_same_on(backend, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    model = small_classifier()
    model(images)
    model.save_weights(tmp_path / "model.weights.h5")
    expected = explain.fgsm(model, images, np.arange(4), 4)

    run_on(backend, "-c", ATTACK, tmp_path)
    with np.load(tmp_path / "found.npz") as found:
        # The sign of a gradient near 0 may differ.
        assert (found["fgsm"] == expected).mean() > 0.99
        # Noise differs between backends.
        assert np.abs(found["pgd"] - images).max() == 4
        assert found["pgd"].min() == 0
        assert found["pgd"].max() == 255
