"""ONNX models, for ONNX Runtime and what else reads them."""

import importlib
import json

from aib_keras.export.destination import file_destination, staged
from aib_keras.export.serving import (
    INPUT_NAME,
    check_exportable,
    checked_class_names,
    description,
    in_float32,
    input_spec,
    serving_outputs,
)
from aib_keras.export.verify import (
    FLOAT32_LIMITS,
    exact_float32,
    expected_outputs,
    images_to_compare,
    verified_report,
)

# Of ONNX 1.13, December 2022: ONNX Runtime reads it from 1.14 on.
_OPSET = 18
_BATCH = "batch"


def to_onnx(model, path, class_names=None, overwrite=False):
    """Writes a model as an ONNX file, and checks what was written against the model.

    Input, outputs and their names are those of `serving_default` of `to_saved_model`: `images` is
    uint8 in [0, 255], `(batch, height, width, 3)` with any batch (float32, normalised, for a model
    without preprocessing), and the outputs are float32:

        session = onnxruntime.InferenceSession("model.onnx")
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, {"images": images})))

    The names of the classes are in the file: a JSON list,
    `json.loads(session.get_modelmeta().custom_metadata_map["class_names"])`.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: File to write, usually `*.onnx`.
        class_names: Optional sequence of strings, in the order of the labels. By default the
            indices of the classes, "0", "1", ...
        overwrite: Boolean, whether to replace a file at `path`.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if the model is not an image classifier of this library.
        RuntimeError: on another Keras backend than TensorFlow.
        ValueError: if the model is not built, the class names are not one for each class, or `path`
            is a URL.
        ImportError: if the converter or ONNX Runtime, which the check needs, is not installed.
        FileExistsError: if something is at `path` that may not be replaced.
        ExportError: if what was written disagrees with the model; it is then removed.
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
    """Outputs of an ONNX file of `to_onnx`, as numpy arrays, from nothing but ONNX Runtime.

    Args:
        path: The file.
        images: Array `(N, height, width, 3)` as the model takes it.
        num_threads: Integer; 0 leaves it to ONNX Runtime.

    Returns:
        A dict of float32 arrays by the names of the outputs.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT_NAME: images}), strict=True))


def _convert(model, shapes, class_names):
    """The bytes of the ONNX model of a float32 model, whose tensors have these shapes by name."""
    import tensorflow as tf

    signature = [input_spec(model)]
    function = tf.function(lambda images: serving_outputs(model, images), input_signature=signature)
    # The converter computes what is constant.
    with exact_float32():
        converted, _ = _converter().convert.from_function(
            function, input_signature=signature, opset=_OPSET
        )
    # The converter gives every tensor's batch a name of its own, and loses some sizes.
    for tensor in (*converted.graph.input, *converted.graph.output):
        batch, *sides = tensor.type.tensor_type.shape.dim
        batch.dim_param = _BATCH
        for side, size in zip(sides, shapes[tensor.name][1:], strict=True):
            side.dim_value = size
    # Those in between have these names too; readers infer them.
    del converted.graph.value_info[:]
    converted.graph.name = model.name
    converted.doc_string = description(model)
    converted.metadata_props.add(key="class_names", value=json.dumps(class_names))
    return converted.SerializeToString()


def _converter():
    return _imported("tf2onnx")


def _runtime():
    return _imported("onnxruntime")


def _imported(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"to_onnx needs {name}, which is not installed: pip install 'aib_keras[onnx]'."
        ) from error
