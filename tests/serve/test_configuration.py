"""The files in serving/, as far as they can be checked without a server."""

import pathlib

import pytest

SERVING = pathlib.Path(__file__).parents[2] / "serving"
FLAGS = {
    "--model_config_file=/config/models.config",
    "--model_config_file_poll_wait_seconds=60",
    "--enable_batching=true",
    "--batching_parameters_file=/config/batching_parameters.txt",
}


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
