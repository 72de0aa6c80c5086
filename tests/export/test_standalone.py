"""What is exported runs where neither Keras nor this library can be imported."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

SCRIPT = """
import sys

sys.modules["keras"] = sys.modules["aib_keras"] = None
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

folder, *lines = sys.argv[1:]
for line in lines:
    kind, case, path, tolerance = line.split("|")
    with np.load(f"{folder}/{case}.npz") as data:
        images = data["images"]
        expected = {name: data[name] for name in data.files if name != "images"}
    if kind == "saved_model":
        loaded = tf.saved_model.load(path)
        found = loaded.signatures["serving_default"](images=tf.constant(images))
    else:
        found = Interpreter(path).get_signature_runner("serving_default")(images=images)
    assert set(found) == set(expected), (case, set(found))
    for name in set(expected) - {"attention_quantized", "logits"}:
        np.testing.assert_allclose(
            np.asarray(found[name]), expected[name], atol=float(tolerance), err_msg=f"{line} {name}"
        )
    print(kind, case, "agrees")
"""


def _python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={
            **os.environ,
            "TF_NUM_INTRAOP_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export needs TensorFlow")
def test_files_run_without_keras(
    models, saved_models, litert_models, images, expected, tmp_path, ran_in
):
    lines = []
    for name in ("vgg", "vgg_aib_qt"):
        np.savez(tmp_path / f"{name}.npz", images=images, **expected(models[name], images))
        lines += [
            f"saved_model|{name}|{saved_models[name].path}|1e-4",
            f"litert|{name}|{litert_models[name, None].path}|1e-4",
        ]
    # Of the largest difference, with room for a position that falls to another anchor.
    lines.append(f"litert|vgg_aib_qt|{litert_models['vgg_aib_qt', 'float16'].path}|0.05")
    result = _python(SCRIPT, str(tmp_path), *lines)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("agrees") == len(lines)
    ran_in("TensorFlow without Keras and aib_keras")


def test_another_backend_is_told_how_and_needs_no_tensorflow(tmp_path):
    pytest.importorskip("jax")
    code = """
import sys

sys.modules["tensorflow"] = sys.modules["flatbuffers"] = None
import keras
from aib_keras import export, models

model = models.PlainClassifier(keras.layers.Flatten())
for function in (export.to_saved_model, export.to_litert):
    try:
        function(model, sys.argv[1])
    except RuntimeError as error:
        print(error)
"""
    result = _python(code, str(tmp_path / "model"), KERAS_BACKEND="jax")
    assert result.stdout.count("this process runs jax") == 2, result.stderr
    assert "KERAS_BACKEND=tensorflow" in result.stdout
    assert list(tmp_path.iterdir()) == []
