"""The clients against servers on 127.0.0.1 that speak TensorFlow Serving's protocols."""

import os
import subprocess
import sys

import numpy as np
import pytest
from malformed import image_file
from PIL import Image, PngImagePlugin

pytest.importorskip("tensorflow_serving")
import tensorflow as tf
from loopback import Model, grpc_server, rest_server

from aib_serve.client import GrpcClient, RestClient, ServingError

# The command where TensorFlow cannot be imported: a client needs none.
COMMAND = """
import sys

sys.modules["tensorflow"] = sys.modules["keras"] = sys.modules["aib_keras"] = None
from aib_serve.main import run

run()
"""


@pytest.fixture(scope="module")
def model(served_path):
    return Model(served_path, "birds")


@pytest.fixture(scope="module")
def grpc_address(model):
    with grpc_server(model) as address:
        yield address


@pytest.fixture(scope="module")
def rest_address(model):
    with rest_server(model) as address:
        yield address


@pytest.fixture(params=["grpc", "rest"])
def make_client(request, grpc_address, rest_address, ran_in):
    ran_in({"grpc": "a loopback gRPC PredictionService", "rest": "loopback REST"}[request.param])
    if request.param == "grpc":
        return lambda name: GrpcClient(grpc_address, name)
    return lambda name: RestClient(rest_address, name)


@pytest.fixture(scope="module")
def contents():
    rng = np.random.default_rng(0)
    return [image_file(rng, "JPEG"), b"no image", image_file(rng, "WEBP", size=(300, 200))]


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def test_predictions(make_client, model, contents):
    found = make_client("birds").classify(contents)
    wanted = model.predict("birds", "classify_bytes", {"image_bytes": tf.constant(contents)})
    assert [prediction.error for prediction in found] == ["", "not a JPEG, PNG or WebP image", ""]
    for row in (0, 2):
        names = [name.decode() for name in wanted["class_names"][row]]
        assert list(found[row].probabilities) == names
        np.testing.assert_allclose(
            list(found[row].probabilities.values()), wanted["probabilities"][row], atol=1e-5
        )
        assert found[row].predicted_class == wanted["predicted_class"][row].decode()
        for name in ("attention", "attention_quantized"):
            values = getattr(found[row], name)
            np.testing.assert_allclose(values, wanted[name][row, ..., 0], atol=1e-5)
        np.testing.assert_allclose(found[row].attention_box, [0.1, 0.1, 0.9, 0.9], atol=1e-6)
    assert found[1].predicted_class == ""


def test_a_request_that_is_refused(make_client, contents):
    with pytest.raises(ServingError, match=r"refuses.*At most 128 files"):
        make_client("birds").classify(contents * 50)
    with pytest.raises(ServingError, match=r"refuses.*not found.*fish"):
        make_client("fish").classify(contents)


@pytest.mark.parametrize(
    "client",
    [RestClient("http://127.0.0.1:9", "birds"), GrpcClient("127.0.0.1:9", "birds")],
    ids=["rest", "grpc"],
)
def test_no_server(client):
    with pytest.raises(ServingError, match=r"No server answers at .*127\.0\.0\.1:9.*README"):
        client.classify([b""])


def test_command(rest_address, contents, tmp_path):
    names = ("heron.jpg", "notes.png", "gull.webp")
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in names]
    result = run_command(f"--url={rest_address}", "--model=birds", f"--out={tmp_path}", *paths)
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert [line.startswith(f"{tmp_path}/") for line in lines] == [True, False, True, True, False]
    assert "%" in lines[0]
    assert lines[2].endswith("notes.png: not a JPEG, PNG or WebP image")
    with Image.open(tmp_path / "gull-attention.png") as saved:
        assert saved.size == (200, 300)
    assert not (tmp_path / "notes-attention.png").exists()


def test_an_image_that_only_the_server_reads(rest_address, contents, tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("long", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "text.png", pnginfo=text)
    (tmp_path / "heron.jpg").write_bytes(contents[0])
    paths = [tmp_path / "text.png", tmp_path / "heron.jpg"]
    result = run_command(f"--url={rest_address}", "--model=birds", f"--out={tmp_path}", *paths)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[1].startswith("  the map could not be drawn: Decompressed data too large")
    assert lines[3].endswith("heron-attention.png")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name the image files"),
        (["missing.jpg"], "No such file: missing.jpg"),
        ([__file__, "--out=nowhere"], "--out=nowhere is not a folder"),
        ([__file__, __file__], "the same name"),
        ([__file__, "--url=http://127.0.0.1:9"], "No server answers"),
    ],
)
def test_command_that_cannot_be(arguments, message):
    result = run_command(*arguments)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
