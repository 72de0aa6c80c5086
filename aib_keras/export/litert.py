"""LiteRT (formerly TensorFlow Lite) models, for phones and other small devices."""

import pathlib
import tempfile
import warnings

import numpy as np

from aib_keras.export import saved_model
from aib_keras.export.destination import file_destination, staged
from aib_keras.export.serving import (
    INPUT_NAME,
    SIGNATURE,
    check_exportable,
    in_float32,
    input_dtype,
    input_spec,
)
from aib_keras.export.verify import (
    FLOAT16_LIMITS,
    FLOAT32_LIMITS,
    INT8_LIMITS,
    expected_outputs,
    images_to_compare,
    verified_report,
)

_LIMITS = {None: FLOAT32_LIMITS, "float16": FLOAT16_LIMITS, "int8": INT8_LIMITS}


def to_litert(model, path, quantize=None, representative_images=None, overwrite=False):
    """Writes a model as a LiteRT file, and checks what was written against the model.

    The file has LiteRT's built-in operations only, so that every interpreter runs it. Input,
    outputs and their names are those of `to_saved_model` in all variants: `images` is uint8 in
    [0, 255] and the outputs are float32. The batch is dynamic, 1 unless resized. Use the
    signature `serving_default`:

        interpreter = ai_edge_litert.interpreter.Interpreter("model.tflite")
        outputs = interpreter.get_signature_runner("serving_default")(images=images)

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: File to write, usually `*.tflite`.
        quantize: None: float32. `"float16"`: half the size, the weights in float16. `"int8"`: a
            quarter of the size; weights and activations are 8-bit integers from the normalised
            image to the logits. The report says what that costs; train longer or use float16 if
            it is too much.
        representative_images: Array `(N, height, width, 3)` of images as the model takes them
            (uint8, or float32 for a model without preprocessing). `"int8"` needs them, 100 or
            more and from the training set, to find the range of every activation. The check uses
            some of them, and random images without.
        overwrite: Boolean, whether to replace a file at `path`.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if the model is not an image classifier of this library, or the representative
            images have another dtype than it takes.
        RuntimeError: on another Keras backend than TensorFlow.
        ValueError: if the model is not built, `quantize` is unknown, the representative images are
            missing or of another shape, or `path` is a URL.
        ImportError: if the interpreter, which the check needs, is not installed.
        FileExistsError: if something is at `path` that may not be replaced.
        ExportError: if what was written disagrees with the model; it is then removed.
    """
    check_exportable(model)
    if quantize not in _LIMITS:
        raise ValueError(f"`quantize` must be {', '.join(map(repr, _LIMITS))}, got {quantize!r}.")
    image_shape = tuple(input_spec(model).shape[1:])
    _check_representative(model, image_shape, quantize, representative_images)
    path = file_destination(path, overwrite)
    _interpreter_class()

    model = in_float32(model)
    images = images_to_compare(model, image_shape, representative_images)
    expected = expected_outputs(model, images)
    content = _convert(model, quantize, representative_images)
    with staged(path) as file:
        file.write_bytes(content)
        return verified_report(path, len(content), expected, run(file, images), _LIMITS[quantize])


def run(file, images):
    """Outputs of a LiteRT file, as numpy arrays, from nothing but its interpreter."""
    interpreter = _interpreter_class()(model_path=str(file))
    runner = interpreter.get_signature_runner(SIGNATURE)
    return runner(**{INPUT_NAME: images})


def _interpreter_class():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(
            "to_litert checks what it writes with LiteRT's interpreter, which is not installed: "
            "pip install 'aib_keras[litert]'."
        ) from error
    return Interpreter


def _check_representative(model, image_shape, quantize, images):
    if images is None:
        if quantize == "int8":
            raise ValueError(
                "quantize='int8' needs `representative_images`, an array of "
                f"{input_dtype(model)} images (N, {', '.join(map(str, image_shape))}): the range "
                "of every activation is measured on them. 100 or more images of the training set "
                "are recommended."
            )
        return
    dtype = getattr(images, "dtype", None)
    if not isinstance(images, np.ndarray) or dtype != input_dtype(model):
        raise TypeError(
            f"`representative_images` must be a numpy array of {input_dtype(model)}, as "
            f"{model.name} takes images, got {type(images).__name__} of {dtype}."
        )
    if images.shape[1:] != image_shape or len(images) == 0:
        raise ValueError(
            f"`representative_images` must have the shape (N, {', '.join(map(str, image_shape))}) "
            f"with N at least 1, got {images.shape}."
        )


def _convert(model, quantize, representative_images):
    """The bytes of the LiteRT model of a float32 model."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder, "saved_model")
        saved_model.write(model, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(folder), signature_keys=[SIGNATURE]
        )
        # Refuses what only the TensorFlow runtime inside an app (Flex) could run.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            converter.representative_dataset = lambda: (
                {INPUT_NAME: image[None]} for image in representative_images
            )
        with warnings.catch_warnings():
            # The converter uses the interpreter that it warns not to use.
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
            return converter.convert()
