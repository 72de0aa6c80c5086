"""Requests to a TensorFlow Serving server that serves what `aib_keras.export.to_serving` wrote."""

import base64
import dataclasses

import numpy as np

_SIGNATURE = "classify_bytes"
_INPUT = "image_bytes"
_START = "is one running there? serving/README.md says how to start one"


class ServingError(RuntimeError):
    """A server did not answer, or it refused the request."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a served model predicts for one image file.

    Attributes:
        error: What is wrong with the file, or "" if it could be decoded. With an error, the other
            attributes have no meaning.
        predicted_class: Name of the most probable class.
        probabilities: Dict of class name to a number in [0, 1].
        attention: Array `(h, w)` in (0, 1), the map, or None if the model has none.
        attention_quantized: Array `(h, w)`, the quantised map, or None without a quantiser.
        attention_box: y0, x0, y1, x1 in [0, 1], the part of the image that the maps cover.
    """

    error: str
    predicted_class: str
    probabilities: dict
    attention: np.ndarray | None
    attention_quantized: np.ndarray | None
    attention_box: tuple


class RestClient:
    """Sends requests over REST. It needs `requests`, and not TensorFlow.

    Args:
        url: URL of the server, such as `"http://localhost:8501"`.
        model: Name of the model on the server.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, url, model, timeout=60.0):
        self.url = f"{url.rstrip('/')}/v1/models/{model}:predict"
        self.timeout = timeout

    def classify(self, files):
        """Classifies image files.

        Args:
            files: Sequence of at most 128 bytes objects, the contents of JPEG, PNG or WebP files.

        Returns:
            A list with one `Prediction` per file.

        Raises:
            ServingError: if there is no server, or it refuses the request.
        """
        import requests

        instances = [{_INPUT: {"b64": base64.b64encode(file).decode()}} for file in files]
        content = {"signature_name": _SIGNATURE, "instances": instances}
        try:
            answer = requests.post(self.url, json=content, timeout=self.timeout)
            answer_content = answer.json()
        except requests.ConnectionError as error:
            raise ServingError(f"No server answers at {self.url}: {_START}.") from error
        except requests.RequestException as error:
            raise ServingError(
                f"{self.url} gave no answer of TensorFlow Serving: {error}"
            ) from error
        if not isinstance(answer_content, dict):
            raise ServingError(f"{self.url} gave no answer of TensorFlow Serving: {answer.text}")
        if "predictions" not in answer_content:
            reason = answer_content.get("error", answer.text)
            raise ServingError(f"{self.url} refuses: {reason} (HTTP {answer.status_code})")
        return [_prediction(row) for row in answer_content["predictions"]]


class GrpcClient:
    """Sends requests over gRPC. Messages are smaller, but it needs tensorflow-serving-api.

    Args:
        target: Host and port of the server, such as `"localhost:8500"`.
        model: Name of the model on the server.
        timeout: Seconds to wait for an answer.

    Raises:
        ImportError: if tensorflow-serving-api is not installed.
    """

    def __init__(self, target, model, timeout=60.0):
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                "gRPC needs tensorflow-serving-api, which is not installed: "
                'pip install "aib-keras[serving]", or send requests over REST.'
            ) from error
        self.target, self.model, self.timeout = target, model, timeout
        # Images can be larger than gRPC's default limit of 4 MB.
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        channel = grpc.insecure_channel(target, options=options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def classify(self, files):
        """Classifies image files, as `RestClient.classify` does."""
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = _SIGNATURE
        request.inputs[_INPUT].CopyFrom(tf.make_tensor_proto(list(files), tf.string, [len(files)]))
        try:
            answer = self._stub.Predict(request, timeout=self.timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise ServingError(f"No server answers at {self.target}: {_START}.") from error
            raise ServingError(f"{self.target} refuses: {error.details()}") from error
        outputs = {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}
        return [
            _prediction({name: values[row] for name, values in outputs.items()})
            for row in range(len(files))
        ]


def _prediction(row):
    """Makes a `Prediction` of the outputs for one file, from JSON or arrays."""

    def attention(name):
        return np.asarray(row[name], np.float32)[..., 0] if name in row else None

    names = [_text(name) for name in row["class_names"]]
    return Prediction(
        error=_text(row["error"]),
        predicted_class=_text(row["predicted_class"]),
        probabilities=dict(zip(names, map(float, row["probabilities"]), strict=True)),
        attention=attention("attention"),
        attention_quantized=attention("attention_quantized"),
        attention_box=tuple(map(float, row.get("attention_box", (0, 0, 1, 1)))),
    )


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)
