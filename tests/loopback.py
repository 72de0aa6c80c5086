"""Servers on 127.0.0.1 that answer as TensorFlow Serving does, which cannot be installed here.

The gRPC one is TensorFlow Serving's own `PredictionService` over `tf.saved_model.load`. The REST
one has its addresses and JSON, as https://www.tensorflow.org/tfx/serving/api_rest describes them.

    python loopback.py SAVED_MODEL NAME     # serves gRPC until its input ends; prints the address
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import sys
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_UNLIMITED = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]


class RefusedError(Exception):
    """What the client asked for cannot be; the message goes to the client."""


class Model:
    """A SavedModel and what a server checks before it runs a signature of it."""

    def __init__(self, path, name):
        self.name = name
        self.loaded = tf.saved_model.load(str(path))

    def predict(self, name, signature_name, inputs):
        if name != self.name:
            raise RefusedError(f"Servable not found for request: Latest({name})")
        signature = self.loaded.signatures.get(signature_name or "serving_default")
        if signature is None:
            raise RefusedError(f'Serving signature name: "{signature_name}" not found')
        wanted = signature.structured_input_signature[1]
        if set(inputs) != set(wanted):
            raise RefusedError(f"expected inputs {sorted(wanted)}, got {sorted(inputs)}")
        for key, spec in wanted.items():
            if inputs[key].dtype != spec.dtype:
                raise RefusedError(
                    f"{key}: expected {spec.dtype.name}, got {inputs[key].dtype.name}"
                )
            if not spec.shape.is_compatible_with(inputs[key].shape):
                raise RefusedError(f"{key}: expected shape {spec.shape}, got {inputs[key].shape}")
        try:
            return {key: value.numpy() for key, value in signature(**inputs).items()}
        except tf.errors.OpError as error:
            raise RefusedError(error.message) from error


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):  # noqa: N802
        spec = request.model_spec
        try:
            inputs = {key: tf.constant(tf.make_ndarray(v)) for key, v in request.inputs.items()}
            outputs = self.model.predict(spec.name, spec.signature_name, inputs)
        except (RefusedError, ValueError, TypeError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response


@contextlib.contextmanager
def grpc_server(model):
    """Serves a `Model`; gives `"127.0.0.1:port"`."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=_UNLIMITED)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(model), server
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


@contextlib.contextmanager
def rest_server(model):
    """Serves a `Model`; gives `"http://127.0.0.1:port"`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            name = self.path.removeprefix("/v1/models/").removesuffix(":predict")
            try:
                status, answer = 200, {"predictions": _rest_predict(model, name, body)}
            except (RefusedError, ValueError, TypeError, KeyError) as error:
                status, answer = 400, {"error": str(error)}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _rest_predict(model, name, body):
    request = json.loads(body)
    rows = request["instances"]
    signature_name = request.get("signature_name", "serving_default")
    spec = model.loaded.signatures[signature_name].structured_input_signature[1]
    inputs = {
        key: tf.constant([_decoded(row[key]) for row in rows], value.dtype)
        for key, value in spec.items()
    }
    outputs = model.predict(name, signature_name, inputs)
    return [
        {key: _as_json(value[row]) for key, value in outputs.items()} for row in range(len(rows))
    ]


def _decoded(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _as_json(value):
    if isinstance(value, bytes):
        return value.decode()
    value = np.asarray(value)
    return [_as_json(item) for item in value] if value.dtype == object else value.tolist()


if __name__ == "__main__":
    with grpc_server(Model(*sys.argv[1:])) as address:
        print(address, flush=True)
        sys.stdin.read()
