"""The metadata of a LiteRT file: the class names, and how to prepare an image.

This is the metadata standard of TensorFlow Lite, which Android Studio and MediaPipe read: a
flatbuffer in the model's buffer TFLITE_METADATA (metadata_schema.fbs 1.1.0 of
tensorflow/tflite-support), and a zip archive behind the model with the files that the flatbuffer
names. The library for it, tflite-support, is archived, and its successor, MediaPipe, needs OpenCV
and 43 MB. So this module writes and reads the few tables that a classifier needs.
"""

import io
import zipfile

import numpy as np

from aib_keras.export import litert_schema
from aib_keras.utils.checks import check_path
from aib_keras.utils.optional import require

LABELS_FILE = "labels.txt"
_ENTRY = "TFLITE_METADATA"
# The oldest version of the standard that has all fields below.
_MIN_PARSER_VERSION = "1.0.0"
_TENSOR_AXIS_LABELS = 2
# By the number of channels: RGB and grey.
_COLOR_SPACES, _UNKNOWN = {3: 1, 1: 2}, 0


def check_labels(class_names):
    """Raises a ValueError unless each of these strings is one line of text."""
    for name in class_names:
        if name.splitlines() != [name]:
            raise ValueError(f"A class name must be one line of text, got {name!r}.")


def image_metadata(name, description, image_shape, pixels):
    """Returns the metadata of an input of images.

    Args:
        name, description: Strings.
        image_shape: (height, width, channels).
        pixels: Boolean. True for values in [0, 255] that need no preparation; False for images that
            must be prepared as the description says.
    """
    height, width, channels = image_shape
    size = {"width": width, "height": height}
    metadata = {
        "name": name,
        "description": description,
        "content": {
            "content_properties_type": litert_schema.IMAGE_PROPERTIES,
            "content_properties": {
                "color_space": _COLOR_SPACES.get(channels, _UNKNOWN),
                "default_size": size,
            },
        },
    }
    if pixels:
        nothing = {"mean": [0.0], "std": [1.0]}
        metadata["process_units"] = [
            {"options_type": litert_schema.NORMALIZATION_OPTIONS, "options": nothing}
        ]
        metadata["stats"] = {"max": [255.0], "min": [0.0]}
    return metadata


def class_metadata(name, description):
    """Returns the metadata of an output `(batch, classes)`."""
    labels = {
        "name": LABELS_FILE,
        "description": "The names of the classes, one per line.",
        "type": _TENSOR_AXIS_LABELS,
    }
    return {"name": name, "description": description, "associated_files": [labels]}


def with_metadata(content, name, description, tensors, class_names):
    """Adds metadata and labels to a LiteRT file.

    Args:
        content: Bytes of a LiteRT file with one signature.
        name, description: Strings about the model.
        tensors: Dict from the names in the signature to the metadata of these tensors.
        class_names: List of strings.

    Returns:
        Bytes.
    """
    schema = _schema("to_litert")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (signature,) = model.signatureDefs
    names = {
        tensor.tensorIndex: tensor.name.decode()
        for tensor in [*signature.inputs, *signature.outputs]
    }
    graph = model.subgraphs[signature.subgraphIndex]
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(
        litert_schema.pack(
            {
                "name": name,
                "description": description,
                "min_parser_version": _MIN_PARSER_VERSION,
                "subgraph_metadata": [
                    {
                        "input_tensor_metadata": [tensors[names[i]] for i in graph.inputs],
                        "output_tensor_metadata": [tensors[names[i]] for i in graph.outputs],
                    }
                ],
            }
        ),
        np.uint8,
    )
    entry = schema.MetadataT()
    entry.name, entry.buffer = _ENTRY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)
    builder = _aligned_builder(len(content) + len(buffer.data))
    builder.Finish(model.Pack(builder), b"TFL3")

    stream = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(stream, "a") as archive:
        # `ZipInfo` has a fixed date, so that equal models become equal files.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "\n".join(class_names) + "\n")
    return stream.getvalue()


def read_litert_metadata(path):
    """Reads the metadata of a LiteRT file.

    Args:
        path: A file of `to_litert`, or another file with metadata in TensorFlow Lite's standard.

    Returns:
        A dict. What the file does not say is None.

        - `name`, `description`: Strings about the model.
        - `class_names`: List of strings.
        - `image_size`: (height, width) of the images.
        - `mean`, `std`: Lists of numbers. The caller has to pass `(images - mean) / std` for RGB
          images.
        - `input_range`: (lowest, highest) value of the result.
        - `inputs`, `outputs`: Dicts from the names of the tensors to their descriptions.

    Raises:
        ImportError: if ai-edge-litert is not installed.
        TypeError: if `path` is neither a string nor a path.
        ValueError: if it is not a LiteRT file, or it has no metadata.
    """
    schema = _schema("read_litert_metadata")
    path = check_path("path", path)
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{str(path)!r} is not a LiteRT file, which usually ends in .tflite.")
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    buffers = [entry.Buffer() for entry in entries if entry.Name() == _ENTRY.encode()]
    if not buffers:
        raise ValueError(
            f"{str(path)!r} has no metadata. aib_keras.export.to_litert writes it: export the "
            "model again."
        )
    metadata = litert_schema.unpack(model.Buffers(buffers[0]).DataAsNumpy().tobytes())
    (graph, *_) = metadata.get("subgraph_metadata") or [{}]
    inputs, outputs = (graph.get(f"{name}_tensor_metadata", []) for name in ("input", "output"))
    (image, *_) = inputs or [{}]
    size = image.get("content", {}).get("content_properties", {}).get("default_size")
    steps = [unit["options"] for unit in image.get("process_units", ()) if "options" in unit]
    step = steps[0] if steps else {}
    values = image.get("stats")
    return {
        "name": metadata.get("name"),
        "description": metadata.get("description"),
        "class_names": _labels(path, outputs),
        "image_size": None if size is None else (size["height"], size["width"]),
        "mean": step.get("mean"),
        "std": step.get("std"),
        "input_range": None if values is None else (min(values["min"]), max(values["max"])),
        "inputs": {tensor.get("name"): tensor.get("description") for tensor in inputs},
        "outputs": {tensor.get("name"): tensor.get("description") for tensor in outputs},
    }


def _schema(feature):
    return require("ai_edge_litert.schema_py_generated", feature, "litert")


def _labels(path, outputs):
    files = [file for tensor in outputs for file in tensor.get("associated_files", ())]
    names = [file["name"] for file in files if file.get("type") == _TENSOR_AXIS_LABELS]
    if not names:
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.read(names[0]).decode().splitlines()


def _aligned_builder(size):
    """Returns a builder that aligns byte vectors to 16 bytes, as LiteRT's schema demands.

    The code that is generated for Python from the schema does not.
    """
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):
        def CreateNumpyVector(self, x):  # noqa: N802
            if x.dtype == np.uint8:
                self.Prep(16, x.size)
            return super().CreateNumpyVector(x)

    return AlignedBuilder(size)
