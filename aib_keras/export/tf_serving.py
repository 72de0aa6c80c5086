"""What TensorFlow Serving looks for around a SavedModel: version folders and warm-up requests."""

import dataclasses
import io
import os
import pathlib

import numpy as np
from PIL import Image

from aib_keras.export.destination import size, staged
from aib_keras.export.saved_model import to_saved_model

WARMUP_FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
# One image and several: some kernels are made for a shape when it is first seen.
_WARMUP_BATCHES = (1, 8)


def to_serving(model, folder, class_names=None, input_dtype=None, resize_ratio=1.0):
    """Writes a model as the next version that TensorFlow Serving is to serve.

    The first version is `folder/1`, and each call adds one: a server that watches the folder loads
    it and lets the version before it go. A version is moved into its place when it is complete and
    checked, with requests in `assets.extra` that the server answers before it takes others, so that
    the first client does not wait for what TensorFlow prepares at first use.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        folder: Folder of all versions; its name is what requests call the model.
        class_names, input_dtype, resize_ratio: As in `to_saved_model`.

    Returns:
        The `ExportReport` of the SavedModel, whose `path` is the new version's.

    Raises:
        ImportError: if tensorflow-serving-api is not installed.
        FileExistsError: if `folder` is a file.
        TypeError, RuntimeError, ValueError, ExportError: as `to_saved_model`.
    """
    prediction_log = _import_prediction_log()
    folder = pathlib.Path(os.path.abspath(folder))
    path = folder / str(_next_version(folder))
    with staged(path) as staging:
        report = to_saved_model(model, staging, class_names, input_dtype, resize_ratio)
        _write_warmup(staging, folder.name, prediction_log)
        return dataclasses.replace(report, path=str(path), bytes=size(staging))


def _import_prediction_log():
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "Warm-up requests are messages of tensorflow-serving-api, which is not installed: "
            "pip install 'aib_keras[serving]'. Without them: aib_keras.export.to_saved_model."
        ) from error
    return prediction_log_pb2


def _next_version(folder):
    if not folder.exists():
        return 1
    if not folder.is_dir():
        raise FileExistsError(f"{str(folder)!r} is a file. Versions need a folder: choose another.")
    versions = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    return max(versions, default=0) + 1


def _write_warmup(path, model_name, prediction_log):
    """Writes a request of each batch size to each signature of the SavedModel at `path`."""
    import tensorflow as tf

    file = path / WARMUP_FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for name, signature in tf.saved_model.load(str(path)).signatures.items():
            ((argument, specification),) = signature.structured_input_signature[1].items()
            for batch in _WARMUP_BATCHES:
                log = prediction_log.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = model_name
                request.model_spec.signature_name = name
                value = tf.constant(_inputs(specification, batch), specification.dtype)
                request.inputs[argument].CopyFrom(tf.make_tensor_proto(value))
                writer.write(log.SerializeToString())


def _inputs(specification, batch):
    """Images, or files of images where the signature takes these."""
    rng = np.random.default_rng(0)
    if specification.dtype.name != "string":
        return rng.integers(0, 256, (batch, *specification.shape[1:]))
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "JPEG")
    return [stream.getvalue()] * batch
