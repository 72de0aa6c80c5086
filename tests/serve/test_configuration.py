"""The files in serving/, as far as they can be checked without a server."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from aib_keras import data, export, zoo

SERVING = pathlib.Path(__file__).parents[2] / "serving"
FLAGS = {
    "--model_config_file=/config/models.config",
    "--model_config_file_poll_wait_seconds=60",
    "--enable_batching=true",
    "--batching_parameters_file=/config/batching_parameters.txt",
}
# ONNX Runtime's names of Triton's types.
TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}


def test_models_config():
    pytest.importorskip("tensorflow_serving")
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    text = (SERVING / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("aib", "/models/aib")


def test_compose():
    yaml = pytest.importorskip("yaml")
    (service,) = yaml.safe_load((SERVING / "docker-compose.yml").read_text())["services"].values()
    assert set(service["command"]) == FLAGS
    mounted = [volume.split(":") for volume in service["volumes"] if volume.startswith("./")]
    for source, target, mode in mounted:
        assert (SERVING / source).is_file()
        assert any(flag.endswith(f"={target}") for flag in FLAGS)
        assert mode == "ro"
    assert len(mounted) == 2
    # Nobody else's network.
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_kubernetes():
    yaml = pytest.importorskip("yaml")
    deployment, service = yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]
    assert pod["metadata"]["labels"] == service["spec"]["selector"]
    assert pod["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    (container,) = pod["spec"]["containers"]
    assert set(container["args"]) == FLAGS
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        (check,) = [
            container[probe][kind]
            for kind in container[probe]
            if isinstance(container[probe][kind], dict)
        ]
        assert check["port"] in ports
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_triton(tmp_path):
    yaml = pytest.importorskip("yaml")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    # Triton reads text of protocol buffers. As it is written here, it is YAML, too.
    config = yaml.safe_load((SERVING / "triton" / "config.pbtxt").read_text())
    model = zoo.vgg_aib_qt(weights="digits")
    session = onnxruntime.InferenceSession(export.to_onnx(model, tmp_path / "model.onnx").path)
    for name, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
        described = {
            each["name"]: (TYPES[each["data_type"]], each["dims"]) for each in config[name]
        }
        # Triton adds the batch to the dims.
        assert described == {each.name: (each.type, each.shape[1:]) for each in tensors}
        assert all(each.shape[0] == "batch" for each in tensors)
    assert config["name"] == "aib"
    assert config["max_batch_size"] > 1


def test_kserve():
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load((SERVING / "kserve.yaml").read_text())
    assert (service["kind"], service["metadata"]["name"]) == ("InferenceService", "aib")
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "triton"}
    assert model["protocolVersion"] == "v2"
    assert model["storageUri"].startswith("pvc://")


def test_the_sample_is_a_test_image():
    with Image.open(SERVING / "digit.png") as sample:
        (image,) = data.load("cluttered_digits", "test[:1]").images
        np.testing.assert_array_equal(np.asarray(sample), image)
