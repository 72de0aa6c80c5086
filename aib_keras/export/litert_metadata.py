"""What a LiteRT file says about itself: labels, and what to do with an image.

TensorFlow Lite's metadata standard, which Android Studio and MediaPipe read: a flatbuffer in the
model's buffer TFLITE_METADATA (metadata_schema.fbs 1.1.0 of tensorflow/tflite-support), and the
files that it names as a zip archive behind the model. Its library, tflite-support, is archived, and
the one in its place, MediaPipe, wants OpenCV and 43 MB: here are the tables that a classifier has.
"""

import io
import pathlib
import zipfile

import numpy as np

LABELS_FILE = "labels.txt"
_ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
# The oldest readers that know all fields below.
_MIN_PARSER_VERSION = "1.0.0"
_IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 2, 1
_RGB, _TENSOR_AXIS_LABELS = 1, 2

# The tables of the schema, their fields in its order. Unions have the one type that is used here.
_BYTE, _UINT, _FLOATS = "byte", "uint", "floats"
_TABLES = {
    "ModelMetadata": {
        "name": str,
        "description": str,
        "version": str,
        "subgraph_metadata": ["SubGraphMetadata"],
        "author": str,
        "license": str,
        "associated_files": ["AssociatedFile"],
        "min_parser_version": str,
    },
    "SubGraphMetadata": {
        "name": str,
        "description": str,
        "input_tensor_metadata": ["TensorMetadata"],
        "output_tensor_metadata": ["TensorMetadata"],
    },
    "TensorMetadata": {
        "name": str,
        "description": str,
        "dimension_names": [str],
        "content": "Content",
        "process_units": ["ProcessUnit"],
        "stats": "Stats",
        "associated_files": ["AssociatedFile"],
    },
    "Content": {"content_properties_type": _BYTE, "content_properties": "ImageProperties"},
    "ImageProperties": {"color_space": _BYTE, "default_size": "ImageSize"},
    "ImageSize": {"width": _UINT, "height": _UINT},
    "ProcessUnit": {"options_type": _BYTE, "options": "NormalizationOptions"},
    "NormalizationOptions": {"mean": _FLOATS, "std": _FLOATS},
    "Stats": {"max": _FLOATS, "min": _FLOATS},
    "AssociatedFile": {"name": str, "description": str, "type": _BYTE},
}
_UNIONS = {"content_properties": _IMAGE_PROPERTIES, "options": _NORMALIZATION_OPTIONS}


def check_labels(class_names):
    """Raises a ValueError unless each of these strings is a line of text."""
    for name in class_names:
        if name.splitlines() != [name]:
            raise ValueError(f"A class name must be one line of text, got {name!r}.")


def image_metadata(name, description, image_size, pixels):
    """The metadata of an input of images.

    Args:
        name, description: Strings.
        image_size: (height, width).
        pixels: Boolean: raw values in [0, 255], with which nothing is to be done, or something
            else that only the description tells.
    """
    height, width = image_size
    size = {"width": width, "height": height}
    metadata = {
        "name": name,
        "description": description,
        "content": {
            "content_properties_type": _IMAGE_PROPERTIES,
            "content_properties": {"color_space": _RGB, "default_size": size},
        },
    }
    if pixels:
        nothing = {"mean": [0.0], "std": [1.0]}
        metadata["process_units"] = [{"options_type": _NORMALIZATION_OPTIONS, "options": nothing}]
        metadata["stats"] = {"max": [255.0], "min": [0.0]}
    return metadata


def class_metadata(name, description):
    """The metadata of an output `(batch, classes)`."""
    labels = {
        "name": LABELS_FILE,
        "description": "The names of the classes, a line each.",
        "type": _TENSOR_AXIS_LABELS,
    }
    return {"name": name, "description": description, "associated_files": [labels]}


def with_metadata(content, name, description, tensors, class_names):
    """The bytes of a LiteRT file with metadata and labels.

    Args:
        content: Bytes of a LiteRT file with one signature.
        name, description: Strings, of the model.
        tensors: Dict from the names in the signature to the metadata of these tensors.
        class_names: List of strings.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (signature,) = model.signatureDefs
    names = {
        tensor.tensorIndex: tensor.name.decode()
        for tensor in [*signature.inputs, *signature.outputs]
    }
    graph = model.subgraphs[signature.subgraphIndex]
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(
        _packed(
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
        # With a fixed date, so that the same model gives the same file.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "\n".join(class_names) + "\n")
    return stream.getvalue()


def read_litert_metadata(path):
    """What a LiteRT file says about itself.

    Args:
        path: A file of `to_litert`, or another with metadata of TensorFlow Lite's standard.

    Returns:
        A dict: `name` and `description` of the model; `class_names`, a list of strings; what the
        caller has to do with RGB images of `image_size`, (height, width), before they are given to
        it: `(images - mean) / std`, both lists of numbers, with values in `input_range`, (lowest,
        highest); `inputs` and `outputs`, dicts from the names of the tensors to their descriptions.
        None in place of what the file does not say.

    Raises:
        ValueError: if it is no LiteRT file, or one without metadata.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = pathlib.Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{str(path)!r} is not a LiteRT file.")
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    buffers = [entry.Buffer() for entry in entries if entry.Name() == _ENTRY.encode()]
    if not buffers:
        raise ValueError(
            f"{str(path)!r} has no metadata. aib_keras.export.to_litert writes some: export the "
            "model again."
        )
    metadata = _unpacked(model.Buffers(buffers[0]).DataAsNumpy().tobytes())
    (graph, *_) = metadata["subgraph_metadata"]
    inputs, outputs = graph["input_tensor_metadata"], graph["output_tensor_metadata"]
    (image, *_) = inputs
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
        "inputs": {tensor["name"]: tensor.get("description") for tensor in inputs},
        "outputs": {tensor["name"]: tensor.get("description") for tensor in outputs},
    }


def _labels(path, outputs):
    files = [file for tensor in outputs for file in tensor.get("associated_files", ())]
    names = [file["name"] for file in files if file.get("type") == _TENSOR_AXIS_LABELS]
    if not names:
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.read(names[0]).decode().splitlines()


def _aligned_builder(size):
    """Puts byte vectors at multiples of 16, as the schema of LiteRT demands for weights.

    The generated code has lost that on the way to Python.
    """
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):
        def CreateNumpyVector(self, x):  # noqa: N802
            if x.dtype == np.uint8:
                self.Prep(16, x.size)
            return super().CreateNumpyVector(x)

    return AlignedBuilder(size)


def _packed(metadata):
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, "ModelMetadata", metadata), _IDENTIFIER)
    return bytes(builder.Output())


def _write(builder, kind, value):
    """Writes what a field of this kind holds; its offset, or the number itself."""
    if kind in (_BYTE, _UINT):
        return value
    if kind is str:
        return builder.CreateString(value)
    if kind is _FLOATS:
        return builder.CreateNumpyVector(np.asarray(value, np.float32))
    if isinstance(kind, list):
        offsets = [_write(builder, kind[0], item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    fields = _TABLES[kind]
    # A table refers to what was written before it.
    written = {name: _write(builder, fields[name], value[name]) for name in value}
    builder.StartObject(len(fields))
    for slot, (name, of_field) in enumerate(fields.items()):
        if name not in written:
            continue
        if of_field is _BYTE:
            builder.PrependInt8Slot(slot, written[name], 0)
        elif of_field is _UINT:
            builder.PrependUint32Slot(slot, written[name], 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, written[name], 0)
    return builder.EndObject()


def _unpacked(content):
    from flatbuffers.table import Table

    buffer = Table(content, 0)
    return _read(buffer, "ModelMetadata", buffer.Indirect(0))


def _read(buffer, kind, position):
    """The value of this kind at a position: of a table, a vector or a string where it begins."""
    from flatbuffers import number_types
    from flatbuffers.table import Table

    if kind is _BYTE:
        return buffer.Get(number_types.Int8Flags, position)
    if kind is _UINT:
        return buffer.Get(number_types.Uint32Flags, position)
    if kind is str or kind is _FLOATS or isinstance(kind, list):
        length = buffer.Get(number_types.UOffsetTFlags, position)
        start = position + 4
        if kind is str:
            return buffer.Bytes[start : start + length].decode()
        if kind is _FLOATS:
            return np.frombuffer(buffer.Bytes, "<f4", length, start).tolist()
        return [_read(buffer, kind[0], buffer.Indirect(start + 4 * i)) for i in range(length)]
    table, found = Table(buffer.Bytes, position), {}
    for slot, (name, of_field) in enumerate(_TABLES[kind].items()):
        offset = table.Offset(4 + 2 * slot)
        # Another type of the union is another table.
        other = name in _UNIONS and found.get(f"{name}_type") != _UNIONS[name]
        if not offset or other:
            continue
        place = position + offset
        if of_field not in (_BYTE, _UINT):
            place = table.Indirect(place)
        found[name] = _read(buffer, of_field, place)
    return found
