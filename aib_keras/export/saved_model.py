"""TensorFlow SavedModels, for TensorFlow Serving and any other program with TensorFlow."""

import io

import keras
import numpy as np
from PIL import Image

from aib_keras.data.transform import EvaluationTransform
from aib_keras.export.destination import saved_model_destination, size, staged
from aib_keras.export.outputs import (
    SIGNATURE,
    check_exportable,
    checked_class_names,
    exported_outputs,
    in_float32,
    input_dtype,
    input_spec,
)
from aib_keras.export.signatures import BYTES_SIGNATURE, signatures, takes_files
from aib_keras.export.verify import (
    FLOAT32_LIMITS,
    ExportError,
    exact_float32,
    expected_outputs,
    images_to_compare,
    verified_report,
)

_INPUT_DTYPES = ("uint8", "float32")


def to_saved_model(model, path, class_names=None, input_dtype=None, crop_pct=1.0, overwrite=False):
    """Writes a model as a TensorFlow SavedModel and compares its outputs with the model's.

    The SavedModel needs neither Keras nor this library. It computes in float32, even if the model
    was trained in mixed precision. It is deterministic and changes no variables. All signatures
    take batches of any length:

    - `serving_default` takes `images`, uint8 `(batch, height, width, 3)` in [0, 255]. It returns
      `probabilities` and `logits`, float32 `(batch, classes)`. A model with a spatial map also
      returns `attention`, `(batch, h, w, 1)`, as `explain` does, and a model with a quantiser
      `attention_quantized`.
    - `classify_bytes` takes `image_bytes`, strings `(batch,)`, each the content of a JPEG, PNG or
      WebP file of up to 67 megapixels, and at most 128 files per request. It returns the same
      without the logits, and `predicted_class`, strings `(batch,)`; `class_names`, strings
      `(batch, classes)`, the same in each row; for a model with a map `attention_box`,
      `(batch, 4)`, the part of the image file that the map covers: y0, x0, y1, x1 in [0, 1]; and
      `error`, strings `(batch,)`. A file that cannot be decoded does not fail the request: its
      `error` describes the problem, its probabilities and maps are 0, and its `predicted_class` is
      "". For a good file `error` is "".
    - `explain`, for a model with a spatial map, takes `images`. It returns `probabilities`,
      `predicted_class`, `class_names`, and the maps resized to the images,
      `(batch, height, width, 1)`: bilinear, or nearest neighbours for the quantised map.

    Models without preprocessing take normalised float32 images. They, and models of grey images,
    have no `classify_bytes`.

    TensorFlow Serving needs numbered folders and warm-up requests: see `to_serving`.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: Folder to write, new or empty.
        class_names: Optional sequence of strings, in the order of the labels. By default "0", "1",
            and so on.
        input_dtype: Dtype of `images`, `"uint8"` or `"float32"`. By default uint8 for a model with
            preprocessing. Float images are in [0, 255], too; a request with NaN or infinity fails.
        crop_pct: Float in (0, 1]. `classify_bytes` resizes images to the model's size divided by
            `crop_pct` and crops the middle. Use the `crop_pct` of the training; see
            `aib_keras.data.EvaluationTransform`. 1 crops nothing.
        overwrite: Boolean, whether to replace a SavedModel at `path`.

    Returns:
        An `ExportReport` of `serving_default`.

    Raises:
        TypeError: if the model is not an image classifier of this library, or `path` is neither a
            string nor a path.
        RuntimeError: if Keras runs on another backend than TensorFlow.
        ValueError: if the model is not built, an argument is not as described, or `path` is a URL
            or has `[` or a backslash in it, which TensorFlow takes for a pattern.
        FileExistsError: if there is something at `path` that may not be replaced.
        ExportError: if the SavedModel disagrees with the model. It is then not kept.
    """
    path = saved_model_destination(path, overwrite)
    write = checked_writer(model, class_names, input_dtype, crop_pct)
    with staged(path) as folder:
        return write(folder, path)


def checked_writer(model, class_names, input_dtype, crop_pct):
    """Checks what `to_saved_model` is given, before anything is written.

    The arguments and errors are those of `to_saved_model`.

    Returns:
        A function of (folder, path) that writes a SavedModel to `folder`, compares its outputs with
        the model's, and returns the `ExportReport`. The report and its errors name `path`, where
        the SavedModel will be.
    """
    check_exportable(model)
    input_dtype = _checked_dtype(model, input_dtype)
    transform = EvaluationTransform(tuple(input_spec(model).shape[1:3]), crop_pct)
    model = in_float32(model)
    images = images_to_compare(model, input_spec(model).shape[1:])
    expected = expected_outputs(model, images)
    class_names = checked_class_names(class_names, expected["logits"].shape[-1])

    def write(folder, path):
        _write(signatures(model, class_names, input_dtype, transform), folder)
        call = loaded(folder)
        found = call(SIGNATURE, images.astype(input_dtype))
        report = verified_report(path, size(folder), expected, found, FLOAT32_LIMITS)
        if takes_files(model):
            files = [_png_around(image, transform) for image in images]
            _check_files(path, call(BYTES_SIGNATURE, files), found["probabilities"])
        return report

    return write


def write(model, folder, input_dtype=None):
    """Writes a SavedModel with only the signature `serving_default`, without comparing outputs.

    Args:
        model: Built float32 `ImageClassifier`.
        folder: Path to write to.
        input_dtype: `"uint8"` or `"float32"`; by default what the model takes.
    """
    images = input_spec(model, input_dtype)
    _write({SIGNATURE: (lambda images: exported_outputs(model, images), images)}, folder)


def loaded(folder):
    """Loads the SavedModel at `folder` with nothing but TensorFlow.

    Returns:
        A function that takes the name of a signature and its input, an array or a list, and returns
        the outputs as a dict of NumPy arrays.
    """
    import tensorflow as tf

    # The signatures do not keep the variables alive. `call` does, by its reference to the object.
    model = tf.saved_model.load(str(folder))

    def call(signature, values):
        function = model.signatures[signature]
        (name,) = function.structured_input_signature[1]
        with exact_float32():
            outputs = function(**{name: tf.constant(values)})
            return {name: value.numpy() for name, value in outputs.items()}

    return call


def _write(endpoints, folder):
    archive = keras.export.ExportArchive()
    for name, (function, specification) in endpoints.items():
        archive.add_endpoint(name, function, [specification])
    archive.write_out(str(folder), verbose=False)


def _check_files(path, outputs, probabilities):
    """Raises an ExportError unless files of images get the probabilities of the images."""
    difference = np.max(np.abs(outputs["probabilities"] - probabilities))
    problems = [problem.decode() for problem in outputs["error"] if problem]
    if problems or not difference <= FLOAT32_LIMITS.largest:
        raise ExportError(
            f"The export to {str(path)!r} failed and was not kept: from files the probabilities "
            f"differ by up to {difference:.3g}, and {len(problems)} files could not be decoded "
            f"{problems[:1]}."
        )


def _png_around(image, transform):
    """Returns the content of a PNG file that becomes `image` by a transform."""
    canvas = Image.new("RGB", transform.resized_size[::-1])
    canvas.paste(Image.fromarray(image), transform.margins[::-1])
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()


def _checked_dtype(model, dtype):
    allowed = _INPUT_DTYPES if model.preprocessing is not None else ("float32",)
    if dtype is None:
        return input_dtype(model)
    if dtype not in allowed:
        raise ValueError(
            f"`input_dtype` must be {' or '.join(map(repr, allowed))} for {model.name}, got "
            f"{dtype!r}."
        )
    return dtype
