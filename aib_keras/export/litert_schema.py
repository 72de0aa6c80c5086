"""The metadata tables of TensorFlow Lite's standard, as flatbuffers.

The schema is metadata_schema.fbs 1.1.0 of tensorflow/tflite-support. Here are the tables that a
classifier needs.
"""

import numpy as np

IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = 2, 1
_IDENTIFIER = b"M001"

# The tables of the schema, with their fields in its order. Of the types that a union can have, only
# the one that is used here is listed.
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
_UNIONS = {"content_properties": IMAGE_PROPERTIES, "options": NORMALIZATION_OPTIONS}


def pack(metadata):
    """Returns the flatbuffer of a `ModelMetadata`, a dict of the fields that it has, as bytes."""
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, "ModelMetadata", metadata), _IDENTIFIER)
    return bytes(builder.Output())


def _write(builder, kind, value):
    """Writes the value of a field of this kind and returns its offset, or the number itself."""
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
    # First the values, because a table refers to what was written before it.
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


def unpack(content):
    """Returns what `pack` was given, without the tables that are not listed here."""
    from flatbuffers.table import Table

    buffer = Table(content, 0)
    return _read(buffer, "ModelMetadata", buffer.Indirect(0))


def _read(buffer, kind, position):
    """Reads the value of this kind at a position: that of a number, or where another one starts."""
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
        # If the union has another type, the table is one that is not listed here.
        other = name in _UNIONS and found.get(f"{name}_type") != _UNIONS[name]
        if not offset or other:
            continue
        place = position + offset
        if of_field not in (_BYTE, _UINT):
            place = table.Indirect(place)
        found[name] = _read(buffer, of_field, place)
    return found
