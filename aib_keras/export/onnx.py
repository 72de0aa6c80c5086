"""ONNX models, for ONNX Runtime and other programs that read them."""

import json

from aib_keras.export.destination import file_destination, staged
from aib_keras.export.outputs import (
    INPUT_NAME,
    check_exportable,
    checked_class_names,
    description,
    exported_outputs,
    in_float32,
    input_spec,
)
from aib_keras.export.verify import (
    FLOAT32_LIMITS,
    exact_float32,
    expected_outputs,
    images_to_compare,
    verified_report,
)
from aib_keras.utils.optional import require

# From ONNX 1.13, December 2022. ONNX Runtime 1.14 and later read it.
_OPSET = 18
_BATCH = "batch"


def to_onnx(model, path, class_names=None, overwrite=False):
    """Writes a model as an ONNX file and compares its outputs with the model's.

    The input, the outputs and their names are those of `serving_default` in `to_saved_model`:
    `images` is uint8 `(batch, height, width, 3)` in [0, 255] with a batch of any length. For a
    model without preprocessing it is normalised float32. The outputs are float32:

        session = onnxruntime.InferenceSession("model.onnx")
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, {"images": images})))

    The file has the names of the classes as a JSON list:
    `json.loads(session.get_modelmeta().custom_metadata_map["class_names"])`.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: File to write, usually `*.onnx`.
        class_names: Optional sequence of strings, in the order of the labels. By default "0", "1",
            and so on.
        overwrite: Boolean, whether to replace a file at `path`.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if the model is not an image classifier of this library, or `path` is neither a
            string nor a path.
        RuntimeError: if Keras runs on another backend than TensorFlow.
        ValueError: if the model is not built, there is not one class name for each class, or `path`
            is a URL.
        ImportError: if tf2onnx, which converts the model, or ONNX Runtime, which runs the result
            for the comparison, is not installed.
        FileExistsError: if there is something at `path` that may not be replaced.
        ExportError: if the file disagrees with the model. It is then not kept.
    """
    check_exportable(model)
    path = file_destination(path, overwrite, "model.onnx")
    _runtime(), _converter()

    model = in_float32(model)
    images = images_to_compare(model, input_spec(model).shape[1:])
    expected = expected_outputs(model, images)
    class_names = checked_class_names(class_names, expected["logits"].shape[-1])
    shapes = {name: value.shape for name, value in {INPUT_NAME: images, **expected}.items()}
    content = _convert(model, shapes, class_names)
    with staged(path) as file:
        file.write_bytes(content)
        return verified_report(path, len(content), expected, run(file, images), FLOAT32_LIMITS)


def run(path, images, num_threads=0):
    """Runs an ONNX file of `to_onnx` with nothing but ONNX Runtime.

    Args:
        path: The file.
        images: Array `(N, height, width, 3)` as the model takes it.
        num_threads: Integer. By default ONNX Runtime chooses.

    Returns:
        A dict from the names of the outputs to float32 arrays.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT_NAME: images}), strict=True))


def _convert(model, shapes, class_names):
    """Converts a float32 model to the bytes of an ONNX file.

    Args:
        model: Built `ImageClassifier`.
        shapes: Dict from the names of the input and the outputs to their shapes.
        class_names: List of strings.
    """
    import tensorflow as tf

    signature = [input_spec(model)]
    function = tf.function(
        lambda images: exported_outputs(model, images), input_signature=signature
    )
    # The converter itself computes the constant parts of the model.
    with exact_float32():
        converted, _ = _converter().convert.from_function(
            function, input_signature=signature, opset=_OPSET
        )
    # The converter names the batch differently in each tensor and loses some sizes.
    for tensor in (*converted.graph.input, *converted.graph.output):
        batch, *sides = tensor.type.tensor_type.shape.dim
        batch.dim_param = _BATCH
        for side, size in zip(sides, shapes[tensor.name][1:], strict=True):
            side.dim_value = size
    # Tensors inside the graph have these batch names, too. Readers can infer their shapes.
    del converted.graph.value_info[:]
    converted.graph.name = model.name
    converted.doc_string = description(model)
    converted.metadata_props.add(key="class_names", value=json.dumps(class_names))
    return converted.SerializeToString()


def _converter():
    return require("tf2onnx", "to_onnx", "onnx")


def _runtime():
    return require("onnxruntime", "to_onnx", "onnx")
