"""The version folders and warm-up requests that TensorFlow Serving expects of a SavedModel."""

import dataclasses
import io
import os
import pathlib

import numpy as np
from PIL import Image

from aib_keras.export.destination import local_path, scratch_beside, size
from aib_keras.export.saved_model import checked_writer
from aib_keras.utils.optional import require
from aib_serve.saved_model_path import check_no_pattern

WARMUP_FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
# One image and several, because TensorFlow prepares some kernels when it first sees a shape.
_WARMUP_BATCHES = (1, 8)


def to_serving(model, folder, class_names=None, input_dtype=None, crop_pct=1.0):
    """Writes a model as the next version for TensorFlow Serving.

    The first call writes `folder/1`, and each further call adds a version. A server that watches
    the folder loads the new version and answers with it. By default it then unloads the one before,
    which `serving/models.config` keeps ready. A version appears in the folder only when it is
    complete and checked. It includes warm-up requests in `assets.extra`,
    which the server runs first, so that the first client does not wait for what TensorFlow prepares
    at first use.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        folder: Folder of all versions. Its name is the name of the model in requests.
        class_names: See `to_saved_model`.
        input_dtype: See `to_saved_model`.
        crop_pct: See `to_saved_model`.

    Returns:
        The `ExportReport` of the SavedModel. Its `path` is that of the new version.

    Raises:
        ImportError: if tensorflow-serving-api is not installed.
        FileExistsError: if `folder` is a file.
        TypeError, RuntimeError, ValueError, ExportError: see `to_saved_model`.
    """
    prediction_log = require(
        "tensorflow_serving.apis.prediction_log_pb2",
        "to_serving writes warm-up requests (to_saved_model does not) and",
        "serving",
    )
    folder = local_path("folder", folder)
    check_no_pattern(folder)
    # Another export can be the next version before this one is complete.
    path = folder / str(_next_version(folder))
    write = checked_writer(model, class_names, input_dtype, crop_pct)
    with scratch_beside(path) as scratch:
        staging = scratch / "new"
        report = write(staging, path)
        _write_warmup(staging, folder.name, prediction_log)
        size_in_bytes = size(staging)
        path = _add_version(folder, staging)
    return dataclasses.replace(report, path=str(path), bytes=size_in_bytes)


def _add_version(folder, staging):
    """Moves a complete version to the folder of versions, and returns where it is."""
    while True:
        path = folder / str(_next_version(folder))
        try:
            # A folder that is not empty cannot be replaced.
            os.rename(staging, path)
        except OSError:
            if not path.exists():
                raise
        else:
            return path


def _next_version(folder):
    if not folder.exists():
        return 1
    if not folder.is_dir():
        raise FileExistsError(
            f"{str(folder)!r} is a file. Versions need a folder: choose another path."
        )
    versions = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    return max(versions, default=0) + 1


def _write_warmup(path, model_name, prediction_log):
    """Writes requests of each batch size to each signature of the SavedModel at `path`."""
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
    """Returns images, or files of images if the signature takes those."""
    rng = np.random.default_rng(0)
    if specification.dtype.name != "string":
        return rng.integers(0, 256, (batch, *specification.shape[1:]))
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "JPEG")
    return [stream.getvalue()] * batch
