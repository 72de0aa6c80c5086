import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from aib_keras import export, zoo
from aib_keras.export import onnx as to_test

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

# The Wide-ResNet is the deepest: the graphs of its export take the longest to be made.
NAMES = ("vgg", "vgg_aib_qt", pytest.param("wrn_aib_qt", marks=pytest.mark.slow))


@pytest.fixture(scope="module")
def onnx_models(models, made_once, class_names, tmp_path_factory):
    """Name -> `ExportReport`."""
    folder = tmp_path_factory.mktemp("onnx")
    return made_once(
        lambda name: export.to_onnx(models[name], folder / f"{name}.onnx", class_names=class_names)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 5])
def test_outputs_are_the_models(name, batch, models, onnx_models, images, expected):
    session = onnxruntime.InferenceSession(onnx_models[name].path)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"images": images[:batch]}), strict=True))
    wanted = expected(models[name], images[:batch])
    assert set(found) == set(wanted)
    for output, value in wanted.items():
        np.testing.assert_allclose(found[output], value, atol=1e-4, err_msg=output)
    for output, value in to_test.run(onnx_models[name].path, images[:batch]).items():
        np.testing.assert_allclose(value, found[output], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_signature(name, onnx_models):
    session = onnxruntime.InferenceSession(onnx_models[name].path)
    (images,) = session.get_inputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert images.shape == ["batch", 32, 32, 3]
    shapes = {"probabilities": ["batch", 10], "logits": ["batch", 10]}
    if "aib" in name:
        shapes["attention"] = shapes["attention_quantized"] = ["batch", 16, 16, 1]
    assert {output.name: output.shape for output in session.get_outputs()} == shapes
    assert {output.type for output in session.get_outputs()} == {"tensor(float)"}


@pytest.mark.parametrize("name", NAMES)
def test_graph(name, onnx_models):
    model = onnx.load(onnx_models[name].path)
    onnx.checker.check_model(model, full_check=True)
    assert {(opset.domain, opset.version) for opset in model.opset_import} >= {("", 18)}
    ops = [node.op_type for node in model.graph.node]
    # From channels last and back in a few places, not around each convolution.
    assert ops.count("Conv") > 15
    assert ops.count("Transpose") <= 2


def test_class_names(onnx_models, class_names, small_model, tmp_path):
    def names(report):
        session = onnxruntime.InferenceSession(report.path)
        return json.loads(session.get_modelmeta().custom_metadata_map["class_names"])

    assert names(onnx_models["vgg"]) == class_names
    unnamed = export.to_onnx(small_model, tmp_path / "model.onnx")
    assert names(unnamed) == [str(index) for index in range(10)]


def test_report(onnx_models, models):
    report = onnx_models["vgg_aib_qt"]
    assert max(report.max_difference.values()) < 1e-4
    assert report.same_class == 1.0
    assert report.bytes > 4 * models["vgg_aib_qt"].count_params() * 0.9


def test_a_model_without_preprocessing_takes_normalised_images(images, expected, tmp_path):
    model = zoo.vgg_gap(width=0.0625, include_preprocessing=False)
    report = export.to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(report.path)
    assert session.get_inputs()[0].type == "tensor(float)"
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes["attention"] == ["batch", 8, 8, 1]
    normalised = (images / 128 - 1).astype("float32")
    found, wanted = to_test.run(report.path, normalised), expected(model, normalised)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-4)


SCRIPT = """
import sys

sys.modules["keras"] = sys.modules["tensorflow"] = sys.modules["aib_keras"] = None
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
(probabilities,) = session.run(["probabilities"], {"images": np.zeros((3, 32, 32, 3), "uint8")})
print(probabilities.shape)
"""


def test_runs_without_tensorflow(onnx_models):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, onnx_models["vgg_aib_qt"].path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "(3, 10)", done.stderr
