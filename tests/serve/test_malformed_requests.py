"""What strangers may send to a server: an answer to each, and the next good request is answered."""

import contextlib
import io
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from malformed import image_file, malformed_files
from PIL import Image

pytest.importorskip("tensorflow_serving")
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

LOOPBACK = pathlib.Path(__file__).parents[1] / "loopback.py"
# Seconds for an answer to what costs next to nothing, on a busy machine.
TIMEOUT = 30
# Growth in MiB: four images at once of 64 MiB with alpha, and what mixing that takes.
MEMORY = 1024

# Requests that no file is the reason of: signature and inputs.
STRUCTURES = {
    "no input": ("classify_bytes", {}),
    "another input": ("classify_bytes", {"images": tf.constant(["x"])}),
    "one more input": ("classify_bytes", {"image_bytes": tf.constant(["x"]), "b": tf.constant(1)}),
    "numbers for bytes": ("classify_bytes", {"image_bytes": tf.constant([1, 2])}),
    "bytes without batch": ("classify_bytes", {"image_bytes": tf.constant("x")}),
    "bytes of rank 2": ("classify_bytes", {"image_bytes": tf.constant([["x"]])}),
    "too many files": ("classify_bytes", {"image_bytes": tf.constant([""] * 200)}),
    "unknown signature": ("regress", {"image_bytes": tf.constant(["x"])}),
    "bytes for images": ("serving_default", {"images": tf.constant(["x"])}),
    "float images": ("serving_default", {"images": tf.fill((1, 32, 32, 3), np.nan)}),
    "image without batch": ("serving_default", {"images": tf.zeros((32, 32, 3), tf.uint8)}),
    "images of rank 5": ("explain", {"images": tf.zeros((1, 1, 32, 32, 3), tf.uint8)}),
    "images of another size": ("explain", {"images": tf.zeros((1, 31, 32, 3), tf.uint8)}),
    "images of no size": ("serving_default", {"images": tf.zeros((1, 0, 0, 3), tf.uint8)}),
    "grey images": ("serving_default", {"images": tf.zeros((1, 32, 32, 1), tf.uint8)}),
}


class Server:
    """A loopback server in a process of its own, which may be brought down or filled."""

    def __init__(self, process):
        self.process = process
        self.target = process.stdout.readline().strip()
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(self.target)
        )

    def predict(self, signature, inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "birds"
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = self.stub.Predict(request, timeout=TIMEOUT)
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    def classify(self, contents):
        return self.predict("classify_bytes", {"image_bytes": tf.constant(contents)})

    def peak_memory(self):
        """MiB that the process has held at most."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


@pytest.fixture(scope="module")
def server(served_path):
    if not sys.platform.startswith("linux"):
        pytest.skip("the memory of a process is read from Linux's /proc")
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, str(LOOPBACK), str(served_path), "birds"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield Server(process)


@pytest.mark.slow
@pytest.mark.parametrize("count", [90, pytest.param(1000, marks=pytest.mark.slow)])
def test_malformed_requests(count, server):
    rng = np.random.default_rng(0)
    good = [image_file(rng, kind) for kind in ("JPEG", "PNG", "WEBP")]
    wanted = server.classify(good)
    before = server.peak_memory()
    structures = list(STRUCTURES.values())
    for index, (name, content) in enumerate(malformed_files(count, seed=1)):
        if index % 3 == 2:
            with pytest.raises(grpc.RpcError) as error:
                server.predict(*structures[index // 3 % len(structures)])
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert error.value.details()
        # Every second one comes with the image of somebody else.
        others = good[:1] if index % 2 else []
        answer = server.classify([content, *others])
        assert answer["error"][0], name
        assert not answer["probabilities"][0].any()
        if others:
            assert not answer["error"][1]
            np.testing.assert_allclose(
                answer["probabilities"][1], wanted["probabilities"][0], atol=1e-5
            )
    found = server.classify(good)
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-5)
    assert server.process.poll() is None
    assert server.peak_memory() - before < MEMORY


@pytest.mark.slow
def test_many_large_images_at_once(server):
    # What a good request may cost: valid files of the largest size, with alpha to be mixed.
    rng = np.random.default_rng(0)
    alpha = rng.integers(0, 255, (4096, 1, 1), dtype="uint8")
    rgba = np.broadcast_to(alpha, (4096, 4096, 4))
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgba)).save(stream, "PNG", compress_level=1)
    before = server.peak_memory()
    answer = server.classify([stream.getvalue()] * 8)
    assert not any(answer["error"])
    assert server.peak_memory() - before < MEMORY
