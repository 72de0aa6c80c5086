"""TensorFlow SavedModels, for TensorFlow Serving and for anything else that loads TensorFlow."""

import io

import keras
import numpy as np
from PIL import Image

from aib_keras.export.destination import saved_model_destination, size, staged
from aib_keras.export.image_bytes import resized_size
from aib_keras.export.serving import (
    SIGNATURE,
    check_exportable,
    checked_class_names,
    in_float32,
    input_dtype,
    input_spec,
    serving_outputs,
)
from aib_keras.export.signatures import BYTES_SIGNATURE, signatures
from aib_keras.export.verify import (
    FLOAT32_LIMITS,
    ExportError,
    exact_float32,
    expected_outputs,
    images_to_compare,
    verified_report,
)

_INPUT_DTYPES = ("uint8", "float32")


def to_saved_model(
    model, path, class_names=None, input_dtype=None, resize_ratio=1.0, overwrite=False
):
    """Writes a model as a TensorFlow SavedModel, and checks what was written against the model.

    The SavedModel needs neither Keras nor this library, has a batch of any length in all its
    signatures, samples nothing, writes no variable, and computes in float32, also if the model was
    trained in mixed precision.

    - `serving_default`: `images`, uint8 in [0, 255], `(batch, height, width, 3)`, to float32
      `probabilities` and `logits`, `(batch, classes)`; of a model with a spatial map also
      `attention`, in (0, 1), `(batch, h, w, 1)`, and `attention_quantized` if it has a quantiser.
    - `classify_bytes`: `image_bytes`, strings `(batch,)`, each the content of a JPEG, PNG or WebP
      file of up to 16.7 megapixels, to the same without logits; `predicted_class` `(batch,)`;
      `class_names` `(batch, classes)`, the same in each row; of a model with a map
      `attention_box` `(batch, 4)`, the part of the picture that it is of: y0, x0, y1, x1 in
      [0, 1]. A file that cannot be decoded does not fail the request: its row of `error`, strings
      `(batch,)`, says what is wrong and is empty for the others, and its other outputs are 0
      and "". More than 128 files in a request are an error.
    - `explain`, of a model with a spatial map: `images` to `probabilities`, `predicted_class`,
      `class_names`, and the maps in the size of the images, `(batch, height, width, 1)`, the
      quantised one with nearest neighbours.

    A model without preprocessing takes normalised images, float32, and has no `classify_bytes`.

    TensorFlow Serving looks for numbered folders and warm-up requests: see `to_serving`.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: Folder to write, new or empty.
        class_names: Optional sequence of strings, in the order of the labels. By default the
            indices of the classes, "0", "1", ...
        input_dtype: `"uint8"` or `"float32"`: what `images` are. By default uint8 for a model with
            preprocessing. Float images are in [0, 255], too; one with NaN or infinity is an
            error for its request.
        resize_ratio: Number, at least 1: `classify_bytes` resizes images to this times the
            model's size and takes the middle, as a training with that `resize_ratio` evaluates.
        overwrite: Boolean, whether to replace a SavedModel at `path`.

    Returns:
        An `ExportReport`, of `serving_default`.

    Raises:
        TypeError: if the model is not an image classifier of this library.
        RuntimeError: on another Keras backend than TensorFlow.
        ValueError: if the model is not built, an argument is not as described, or `path` is a URL.
        FileExistsError: if something is at `path` that may not be replaced.
        ExportError: if what was written disagrees with the model; it is then removed.
    """
    check_exportable(model)
    path = saved_model_destination(path, overwrite)
    input_dtype = _checked_dtype(model, input_dtype)
    if not resize_ratio >= 1:
        raise ValueError(f"`resize_ratio` must be at least 1, got {resize_ratio!r}.")
    model = in_float32(model)
    images = images_to_compare(model, input_spec(model).shape[1:])
    expected = expected_outputs(model, images)
    class_names = checked_class_names(class_names, expected["logits"].shape[-1])
    with staged(path) as folder:
        _write(signatures(model, class_names, input_dtype, resize_ratio), folder)
        call = loaded(folder)
        found = call(SIGNATURE, images.astype(input_dtype))
        report = verified_report(path, size(folder), expected, found, FLOAT32_LIMITS)
        if model.preprocessing is not None:
            files = [_png_around(image, resize_ratio) for image in images]
            _check_files(path, call(BYTES_SIGNATURE, files), found["probabilities"])
    return report


def write(model, folder, input_dtype=None):
    """Writes the SavedModel of a float32 model with the signature `serving_default`, unchecked."""
    images = input_spec(model, input_dtype)
    _write({SIGNATURE: (lambda images: serving_outputs(model, images), images)}, folder)


def loaded(folder):
    """The SavedModel at `folder`, from nothing but TensorFlow.

    Returns:
        A function of the name of a signature and its input, an array or a list, to its outputs, a
        dict of numpy arrays.
    """
    import tensorflow as tf

    # The object must outlive its signatures, which do not keep its variables.
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
    """Raises unless files got the probabilities of the images that they are of."""
    difference = np.max(np.abs(outputs["probabilities"] - probabilities))
    problems = [problem.decode() for problem in outputs["error"] if problem]
    if problems or not difference <= FLOAT32_LIMITS.largest:
        raise ExportError(
            f"The export to {str(path)!r} failed and was not kept: from files the probabilities "
            f"differ by up to {difference:.3g}; {len(problems)} problems {problems[:1]}."
        )


def _png_around(image, resize_ratio):
    """The content of a PNG file whose middle, as the model sees it, is an image."""
    larger = resized_size(image.shape[:2], resize_ratio)
    top, left = ((have - want) // 2 for have, want in zip(larger, image.shape, strict=False))
    canvas = Image.new("RGB", larger[::-1])
    canvas.paste(Image.fromarray(image), (left, top))
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
