"""The SavedModel in the runtime that TensorFlow Serving is made of, without TensorFlow's Python."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from malformed import image_file

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

from tensorflow.core.protobuf import saved_model_pb2

# It starts processes that load TensorFlow's C library.
pytestmark = pytest.mark.slow

CLASSES = [str(index) for index in range(10)]
SCRIPT = pathlib.Path(__file__).with_name("run_with_c_api.py")


@pytest.fixture
def run(saved_models, tmp_path):
    """`run(signature, **input)`: the outputs by name."""
    path = pathlib.Path(saved_models["vgg_aib_qt"].path)
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())

    def _run(signature, **given):
        definition = content.meta_graphs[0].signature_def[signature]
        (tensor,) = definition.inputs.values()
        names = sorted(definition.outputs)
        request = tmp_path / "request.json"
        outputs = [definition.outputs[name].name for name in names]
        request.write_text(
            json.dumps({"path": str(path), "input": tensor.name, "outputs": outputs, **given})
        )
        result = subprocess.run(
            [sys.executable, str(SCRIPT), str(request)], capture_output=True, text=True, timeout=120
        )
        assert result.returncode == 0, result.stderr
        return dict(zip(names, map(np.array, json.loads(result.stdout)), strict=True))

    return _run


def test_images(run, models, images, expected, tmp_path, ran_in):
    np.save(tmp_path / "images.npy", images)
    found = run("serving_default", images=str(tmp_path / "images.npy"))
    wanted = expected(models["vgg_aib_qt"], images)
    assert set(found) == set(wanted)
    for name in ("probabilities", "attention"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-4, err_msg=name)
    ran_in("TensorFlow's C API")


def test_files(run, tmp_path):
    rng = np.random.default_rng(0)
    contents = [image_file(rng, "JPEG"), b"no image", image_file(rng, "WEBP")]
    paths = [tmp_path / f"{index}" for index in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    found = run("classify_bytes", files=[str(path) for path in paths])
    assert found["error"].tolist() == ["", "not a JPEG, PNG or WebP image", ""]
    assert [name in CLASSES for name in found["predicted_class"]] == [True, False, True]
    np.testing.assert_allclose(found["probabilities"].sum(axis=-1), [1, 0, 1], atol=1e-5)
