"""LiteRT (formerly TensorFlow Lite) models, for phones and other small devices."""

import pathlib
import tempfile
import warnings

import keras
import numpy as np

from aib_keras.export import litert_int8, saved_model
from aib_keras.export.destination import file_destination, staged
from aib_keras.export.litert_metadata import (
    check_labels,
    class_metadata,
    image_metadata,
    with_metadata,
)
from aib_keras.export.serving import (
    INPUT_NAME,
    SIGNATURE,
    check_exportable,
    checked_class_names,
    description,
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

_LIMITS = {
    None: FLOAT32_LIMITS,
    "float16": FLOAT16_LIMITS,
    "dynamic": INT8_LIMITS,
    "int8": INT8_LIMITS,
}


def to_litert(
    model,
    path,
    quantize=None,
    representative_images=None,
    class_names=None,
    overwrite=False,
):
    """Writes a model as a LiteRT file, and checks what was written against the model.

    The file has LiteRT's built-in operations only, so that every interpreter runs it. Inputs and
    outputs have the names and shapes of `to_saved_model`'s `serving_default`. The batch is
    dynamic, 1 unless resized:

        interpreter = ai_edge_litert.interpreter.Interpreter("model.tflite")
        outputs = interpreter.get_signature_runner("serving_default")(images=images)

    `images` are uint8 in [0, 255] in all variants, and the outputs float32; in `"int8"` they are
    uint8 too, as devices without floats want it. A value is `(output - zero_point) * scale`, which
    the tensor tells (`runner.get_output_details()[name]["quantization"]`); `run` does that.

    A model without preprocessing takes normalised float32 images. Its `"int8"` takes them as uint8
    `images / scale + zero_point`, of the input tensor; the range of the representative images
    decides both.

    Batch norm is folded into the convolutions before it. Half of that of the Wide-ResNets comes
    after a sum instead, and remains a multiplication and an addition.

    The file tells the class names, that nothing is to be done with pixels, and what the model does
    with them, in TensorFlow Lite's metadata; see `read_litert_metadata`. The names are also
    `labels.txt` in the file, which is a zip archive, too.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: File to write, usually `*.tflite`.
        quantize: None: float32. `"float16"`: half the size, the weights in float16. `"dynamic"`: a
            quarter of the size, the weights in 8 bits; activations are float32 between the layers
            and rounded to 8 bits, image by image, inside them. `"int8"`: a quarter of the size,
            8-bit integers throughout. The report says what that costs. Look at
            its cosines, and take another variant if they are too low.
        representative_images: Array `(N, height, width, 3)` of images as the model takes them
            (uint8, or float32 for a model without preprocessing). `"int8"` needs them, 100 or
            more and from the training set, to find the range of every activation. The check uses
            some of them, and random images without.
        class_names: Optional sequence of strings, in the order of the labels. By default the
            indices of the classes, "0", "1", ...
        overwrite: Boolean, whether to replace a file at `path`.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if the model is not an image classifier of this library, or the representative
            images have another dtype than it takes.
        RuntimeError: on another Keras backend than TensorFlow.
        ValueError: if the model is not built, `quantize` is unknown, the representative images are
            missing or of another shape, the class names are not one for each class, each a line
            of text, or `path` is a URL.
        ImportError: if the interpreter, which the check needs, is not installed.
        FileExistsError: if something is at `path` that may not be replaced.
        ExportError: if what was written disagrees with the model, or not all of it could be made
            integers; it is then removed.
    """
    check_exportable(model)
    if quantize not in _LIMITS:
        raise ValueError(f"`quantize` must be {', '.join(map(repr, _LIMITS))}, got {quantize!r}.")
    image_shape = tuple(input_spec(model).shape[1:])
    _check_representative(model, image_shape, quantize, representative_images)
    path = file_destination(path, overwrite, "model.tflite")
    interpreters = _interpreters()

    model = in_float32(model)
    images = images_to_compare(model, image_shape, representative_images)
    expected = expected_outputs(model, images)
    class_names = checked_class_names(class_names, expected["logits"].shape[-1])
    check_labels(class_names)
    content = _convert(model, quantize, representative_images)
    if quantize == "int8":
        # Delegates would hide what they take over.
        resolver = interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        litert_int8.check(
            model,
            interpreters.Interpreter(model_content=content, experimental_op_resolver_type=resolver),
        )
    content = _described(model, content, expected, class_names)
    with staged(path) as file:
        file.write_bytes(content)
        return verified_report(path, len(content), expected, run(file, images), _LIMITS[quantize])


def run(path, images, batch_size=64, num_threads=None):
    """Outputs of a LiteRT file of `to_litert` in float32, whatever numbers it computes with.

    Args:
        path: The file.
        images: Array `(N, height, width, 3)` as the model takes it: uint8, or float32 for one
            without preprocessing.
        batch_size: Integer, images in a forward pass.
        num_threads: Integer; None leaves it to the interpreter.

    Returns:
        A dict of float32 arrays by the names of the outputs.
    """
    interpreter = _interpreters().Interpreter(model_path=str(path), num_threads=num_threads)
    runner = interpreter.get_signature_runner(SIGNATURE)
    takes, gives = runner.get_input_details()[INPUT_NAME], runner.get_output_details()
    if takes["dtype"] != images.dtype:
        images = _quantized(images, takes)
    starts = range(0, len(images), batch_size)
    # Copies: the runner's arrays are the interpreter's memory.
    batches = [
        {name: np.copy(value) for name, value in runner(images=images[i : i + batch_size]).items()}
        for i in starts
    ]
    return {
        name: _dequantized(np.concatenate([batch[name] for batch in batches]), gives[name])
        for name in gives
    }


def _quantized(values, tensor):
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(values / scale + zero_point), limits.min, limits.max).astype(
        tensor["dtype"]
    )


def _dequantized(values, tensor):
    if values.dtype == np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


def _interpreters():
    try:
        import ai_edge_litert.interpreter as interpreter
    except ImportError as error:
        raise ImportError(
            "to_litert checks what it writes with LiteRT's interpreter, which is not installed: "
            "pip install 'aib_keras[litert]'."
        ) from error
    return interpreter


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
        saved_model.write(model, folder, "float32" if quantize == "int8" else None)
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
            litert_int8.set_up(converter, model, representative_images)
        with warnings.catch_warnings():
            # The converter uses the interpreter that it warns not to use.
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
            return converter.convert()


def _described(model, content, expected, class_names):
    """The bytes of a LiteRT model with metadata."""
    tensors = {
        "probabilities": class_metadata("probabilities", "Of the classes, in [0, 1]; sum to 1."),
        "logits": class_metadata("logits", "Of the classes; their softmax are the probabilities."),
    }
    for name in set(expected) - set(tensors):
        quantized = ", each value replaced by the nearest anchor" * name.endswith("_quantized")
        text = f"Map (height, width, 1) of where the model looks{quantized}."
        tensors[name] = {"name": name, "description": text}
    tensors[INPUT_NAME] = image_metadata(
        INPUT_NAME,
        _what_to_give(model),
        image_size=tuple(input_spec(model).shape[1:3]),
        pixels=model.preprocessing is not None,
    )
    return with_metadata(content, model.name, description(model), tensors, class_names)


def _what_to_give(model):
    if model.preprocessing is None:
        return "RGB images, normalised as those that the model was trained on."
    given = "RGB images in [0, 255], as they are: the model normalises them itself"
    if not isinstance(model.preprocessing, keras.layers.Rescaling | keras.layers.Normalization):
        return f"{given}."
    pixels = np.float32([0, 255])[:, None, None, None] * np.ones((1, 1, 3), np.float32)
    black, white = keras.ops.convert_to_numpy(model.preprocessing(pixels))[:, 0, 0]
    std = 255 / (white - black)
    mean = -black * std
    return f"{given}, (image - {_numbers(mean)}) / {_numbers(std)}, per channel."


def _numbers(values):
    return f"[{', '.join(f'{value:.6g}' for value in values)}]"
