"""LiteRT models (formerly TensorFlow Lite), for phones and other small devices."""

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
from aib_keras.export.outputs import (
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
from aib_keras.utils.checks import check_choice
from aib_keras.utils.optional import require

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
    """Writes a model as a LiteRT file and compares its outputs with the model's.

    The file uses only built-in operations of LiteRT, so that every interpreter can run it. The
    inputs and the outputs have the names and shapes of `serving_default` in `to_saved_model`. The
    batch is dynamic, and 1 until the input is resized, which a signature runner does by itself:

        interpreter = ai_edge_litert.interpreter.Interpreter("model.tflite")
        outputs = interpreter.get_signature_runner("serving_default")(images=images)

    `images` are uint8 in [0, 255] in all variants. The outputs are float32, except with `"int8"`,
    where they are uint8, for devices that cannot compute with floats. A uint8 output stands for
    `(output - zero_point) * scale`, where scale and zero point are
    `runner.get_output_details()[name]["quantization"]`.

    A model without preprocessing takes normalised float32 images. With `"int8"` it takes uint8
    images, `images / scale + zero_point`. Scale and zero point are those of the input tensor; they
    follow from the range of the representative images.

    Batch normalisation is folded into the convolution before it. In Wide-ResNets half of it comes
    after a sum, and remains a multiplication and an addition.

    The file has metadata in the standard of TensorFlow Lite: the class names, that pixels need no
    preparation, and how the model normalises them. See `read_litert_metadata`. The file is also a
    zip archive, which contains the class names as `labels.txt`.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: File to write, usually `*.tflite`.
        quantize: How weights are stored and in which precision the file computes. None: float32.
            `"float16"`: float16 weights, half the size. `"dynamic"`: 8-bit weights,
            a quarter of the size; activations are float32 between the layers and rounded to 8 bits,
            image by image, inside them. `"int8"`: 8-bit integers throughout, a quarter of the size.
            The report shows the loss: if its cosines are too low, choose another variant.
        representative_images: Array `(N, height, width, 3)` of images as the model takes them
            (uint8, or float32 for a model without preprocessing). `"int8"` needs them to find the
            range of every activation: 100 or more images of the training set. The comparison with
            the model uses some of them, or random images without them.
        class_names: Optional sequence of strings, in the order of the labels. By default "0", "1",
            and so on.
        overwrite: Boolean, whether to replace a file at `path`.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if the model is not an image classifier of this library, the representative
            images have another dtype than the model takes, or `path` is neither a string nor a
            path.
        RuntimeError: if Keras runs on another backend than TensorFlow.
        ValueError: if the model is not built, `quantize` is unknown, the representative images are
            missing or have another shape, there is not one class name for each class, a class name
            is not one line of text, or `path` is a URL.
        ImportError: if ai-edge-litert, which runs the file for the comparison, is not installed.
        FileExistsError: if there is something at `path` that may not be replaced.
        ExportError: if the file disagrees with the model, or with `"int8"` an operation could not
            be converted to integers. The file is then not kept.
    """
    check_exportable(model)
    check_choice("quantize", quantize, tuple(_LIMITS))
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
        # Without delegates, which would hide the operations that they take over.
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
    """Runs a LiteRT file of `to_litert` and returns its outputs in float32.

    Args:
        path: The file.
        images: Array `(N, height, width, 3)` as the model takes it: uint8, or float32 for a model
            without preprocessing. They are quantised if the file needs it.
        batch_size: Integer, the images per forward pass.
        num_threads: Integer. By default the interpreter chooses.

    Returns:
        A dict from the names of the outputs to float32 arrays.
    """
    interpreter = _interpreters().Interpreter(model_path=str(path), num_threads=num_threads)
    runner = interpreter.get_signature_runner(SIGNATURE)
    takes, gives = runner.get_input_details()[INPUT_NAME], runner.get_output_details()
    if takes["dtype"] != images.dtype:
        images = _quantized(images, takes)
    starts = range(0, len(images), batch_size)
    # Copies, because the arrays that the runner returns are memory of the interpreter.
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
    return require("ai_edge_litert.interpreter", "to_litert", "litert")


def _check_representative(model, image_shape, quantize, images):
    if images is None:
        if quantize == "int8":
            raise ValueError(
                "quantize='int8' needs `representative_images`, an array of "
                f"{input_dtype(model)} images (N, {', '.join(map(str, image_shape))}), to measure "
                "the range of every activation. Use 100 or more images of the training set."
            )
        return
    dtype = getattr(images, "dtype", None)
    if not isinstance(images, np.ndarray) or dtype != input_dtype(model):
        raise TypeError(
            f"`representative_images` must be a NumPy array of {input_dtype(model)}, as "
            f"{model.name} takes images, got {type(images).__name__} of {dtype}."
        )
    if images.shape[1:] != image_shape or len(images) == 0:
        raise ValueError(
            f"`representative_images` must have the shape (N, {', '.join(map(str, image_shape))}) "
            f"with N at least 1, got {images.shape}."
        )


def _convert(model, quantize, representative_images):
    """Converts a float32 model to the bytes of a LiteRT file."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder, "saved_model")
        saved_model.write(model, folder, "float32" if quantize == "int8" else None)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(folder), signature_keys=[SIGNATURE]
        )
        # The conversion fails if an operation is not built in. Others would need Flex, the
        # TensorFlow runtime for apps.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            litert_int8.set_up(converter, model, representative_images)
        with warnings.catch_warnings():
            # The converter itself uses the interpreter that the warning is about.
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
            return converter.convert()


def _described(model, content, expected, class_names):
    """Adds metadata to the bytes of a LiteRT file."""
    tensors = {
        "probabilities": class_metadata(
            "probabilities", "Probabilities of the classes, in [0, 1]. Their sum is 1."
        ),
        "logits": class_metadata(
            "logits", "Logits of the classes. Their softmax is the probabilities."
        ),
    }
    for name in set(expected) - set(tensors):
        quantized = ", each value replaced by the nearest anchor" * name.endswith("_quantized")
        text = f"Map (height, width, 1) that shows where the model looks{quantized}."
        tensors[name] = {"name": name, "description": text}
    tensors[INPUT_NAME] = image_metadata(
        INPUT_NAME,
        _input_description(model),
        image_shape=tuple(input_spec(model).shape[1:]),
        pixels=model.preprocessing is not None,
    )
    return with_metadata(content, model.name, description(model), tensors, class_names)


def _input_description(model):
    channels = input_spec(model).shape[-1]
    images = "RGB images" if channels == 3 else "Images"
    if model.preprocessing is None:
        return f"{images}, normalised like the images that the model was trained on."
    given = f"{images} in [0, 255]. The model itself normalises them"
    if not isinstance(model.preprocessing, keras.layers.Rescaling | keras.layers.Normalization):
        return f"{given}."
    pixels = np.float32([0, 255])[:, None, None, None] * np.ones((1, 1, channels), np.float32)
    black, white = keras.ops.convert_to_numpy(model.preprocessing(pixels))[:, 0, 0]
    std = 255 / (white - black)
    mean = -black * std
    return f"{given}: (image - {_numbers(mean)}) / {_numbers(std)}, per channel."


def _numbers(values):
    return f"[{', '.join(f'{value:.6g}' for value in values)}]"
