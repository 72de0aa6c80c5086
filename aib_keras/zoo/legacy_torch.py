"""Reads files in the format that `torch.save` had before PyTorch 1.6, without PyTorch."""

import collections
import math
import os
import pickle
import typing

import numpy as np

# What such a file begins with: pickled, and as the number.
_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class UnsupportedError(Exception):
    """The file has more in it than tensors of the usual types, in dictionaries."""


class _Storage(typing.NamedTuple):
    key: str
    dtype: str
    size: int


class _Tensor(typing.NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries and placeholders of tensors, and nothing else."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _Tensor(*arguments[:4])
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise UnsupportedError(f"It needs {module}.{name}.")

    def persistent_load(self, pid):
        kind, dtype, key, _, size, view = pid
        if kind != "storage" or dtype not in _DTYPES.values() or view is not None:
            raise UnsupportedError(f"It has {pid!r}.")
        return _Storage(key, dtype, size)


def is_legacy(path):
    """Returns whether a file has this format."""
    with open(path, "rb") as file:
        return file.read(len(_START)) == _START


def read(path):
    """Returns what is in a file: tensors as NumPy arrays, in dictionaries.

    No code of the file runs: of all that a pickle can name, it gets an `OrderedDict`, names of
    types, and tuples.

    Raises:
        UnsupportedError: if PyTorch is needed to read it.
        Exception: of many kinds, if it is damaged.
    """
    with open(path, "rb") as file:
        magic, protocol, system, content, keys = (_Unpickler(file).load() for _ in range(5))
        if (magic, protocol, system["little_endian"]) != (_MAGIC, _PROTOCOL, True):
            raise UnsupportedError(f"It has protocol {protocol} and {system}.")
        sizes = {storage.key: storage for storage in _storages(content)}
        return _with_arrays(content, {key: _read_storage(file, sizes[key]) for key in keys})


def _storages(content):
    if isinstance(content, _Tensor):
        yield content.storage
    elif isinstance(content, dict):
        for value in content.values():
            yield from _storages(value)


def _read_storage(file, storage):
    count = int.from_bytes(file.read(8), "little")
    size = count * np.dtype(storage.dtype).itemsize
    left = os.fstat(file.fileno()).st_size - file.tell()
    if count != storage.size or size > left:
        raise ValueError(f"it ends before its tensors do, {size - left} bytes short")
    return np.frombuffer(file.read(size), storage.dtype)


def _with_arrays(content, storages):
    if isinstance(content, _Tensor):
        return _array(storages[content.storage.key], *content[1:])
    if isinstance(content, dict):
        return {name: _with_arrays(value, storages) for name, value in content.items()}
    return content


def _array(storage, offset, shape, strides):
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or max(last + 1, math.prod(shape)) > len(storage):
        raise ValueError(f"a tensor of shape {shape} and strides {strides} is not in its storage")
    steps = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
