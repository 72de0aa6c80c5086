"""Runs a SavedModel with TensorFlow's C API, whose loader is TensorFlow Serving's, and no Python.

    python run_with_c_api.py REQUEST.json

The request has `path` of the SavedModel; `input` and `outputs`, names of tensors; and `files`, the
paths of files whose content is the input, or `images`, the path of an .npy file. Prints the outputs
as JSON lists.
"""

import ctypes
import importlib.util
import json
import pathlib
import sys

import numpy as np

# Of TensorFlow's c_api.h.
_FLOAT, _UINT8, _STRING = 1, 4, 7
_STRING_BYTES = 24

_location = importlib.util.find_spec("tensorflow").submodule_search_locations[0]
_library = ctypes.CDLL(str(next(pathlib.Path(_location).glob("libtensorflow_cc.so*"))))


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def _function(name, result, *arguments):
    function = getattr(_library, name)
    function.restype, function.argtypes = result, arguments
    return function


_pointer, _size, _int, _text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p
_new_status = _function("TF_NewStatus", _pointer)
_code = _function("TF_GetCode", _int, _pointer)
_message = _function("TF_Message", _text, _pointer)
_new_graph = _function("TF_NewGraph", _pointer)
_new_options = _function("TF_NewSessionOptions", _pointer)
_load = _function(
    "TF_LoadSessionFromSavedModel",
    *(_pointer, _pointer, _pointer, _text, ctypes.POINTER(_text), _int),
    *(_pointer, _pointer, _pointer),
)
_operation = _function("TF_GraphOperationByName", _pointer, _pointer, _text)
_allocate = _function(
    "TF_AllocateTensor", _pointer, _int, ctypes.POINTER(ctypes.c_int64), _int, _size
)
_data = _function("TF_TensorData", _pointer, _pointer)
_byte_size = _function("TF_TensorByteSize", _size, _pointer)
_type = _function("TF_TensorType", _int, _pointer)
_rank = _function("TF_NumDims", _int, _pointer)
_side = _function("TF_Dim", ctypes.c_int64, _pointer, _int)
_string_init = _function("TF_StringInit", None, _pointer)
_string_copy = _function("TF_StringCopy", None, _pointer, _text, _size)
_string_data = _function("TF_StringGetDataPointer", _pointer, _pointer)
_string_size = _function("TF_StringGetSize", _size, _pointer)
_run = _function(
    "TF_SessionRun",
    *(None, _pointer, _pointer),
    *(ctypes.POINTER(_Output), ctypes.POINTER(_pointer), _int) * 2,
    *(_pointer, _int, _pointer, _pointer),
)


def main(request):
    status, graph = _new_status(), _new_graph()
    tags = (_text * 1)(b"serve")
    path = request["path"].encode()
    session = _load(_new_options(), None, path, tags, 1, graph, None, status)
    _check(status)
    value = _of_strings(request["files"]) if "files" in request else _of_array(request["images"])
    inputs = (_Output * 1)(_output(graph, request["input"]))
    names = request["outputs"]
    outputs = (_Output * len(names))(*(_output(graph, name) for name in names))
    found = (_pointer * len(names))()
    values = (_pointer * 1)(value)
    _run(session, None, inputs, values, 1, outputs, found, len(names), None, 0, None, status)
    _check(status)
    print(json.dumps([_as_list(tensor) for tensor in found]))


def _check(status):
    if _code(status):
        sys.exit(_message(status).decode())


def _output(graph, name):
    operation, _, index = name.partition(":")
    return _Output(_operation(graph, operation.encode()), int(index))


def _of_array(path):
    array = np.load(path)
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor = _allocate(_UINT8, shape, array.ndim, array.nbytes)
    ctypes.memmove(_data(tensor), array.tobytes(), array.nbytes)
    return tensor


def _of_strings(paths):
    tensor = _allocate(_STRING, (ctypes.c_int64 * 1)(len(paths)), 1, len(paths) * _STRING_BYTES)
    for index, path in enumerate(paths):
        place = _data(tensor) + index * _STRING_BYTES
        content = pathlib.Path(path).read_bytes()
        _string_init(place)
        _string_copy(place, content, len(content))
    return tensor


def _as_list(tensor):
    shape = [_side(tensor, axis) for axis in range(_rank(tensor))]
    if _type(tensor) == _FLOAT:
        content = ctypes.string_at(_data(tensor), _byte_size(tensor))
        return np.frombuffer(content, np.float32).reshape(shape).tolist()
    places = [_data(tensor) + index * _STRING_BYTES for index in range(int(np.prod(shape)))]
    texts = [
        ctypes.string_at(_string_data(place), _string_size(place)).decode() for place in places
    ]
    return np.array(texts, object).reshape(shape).tolist()


if __name__ == "__main__":
    main(json.loads(pathlib.Path(sys.argv[1]).read_text()))
