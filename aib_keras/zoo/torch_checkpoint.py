"""Reads tensors with PyTorch's names and layouts into Keras layers."""

import collections.abc
import math
import pathlib
import typing

import keras
import numpy as np

from aib_keras.utils.optional import require
from aib_keras.zoo import legacy_torch

_WRAPPERS = (("model_states", "net"), ("state_dict",))


class AfterFlatten(typing.NamedTuple):
    """A linear layer that reads a flattened map. PyTorch flattens maps channels first.

    Attributes:
        linear: `keras.layers.Dense`.
        map_shape: (height, width, channels) of the map.
    """

    linear: keras.layers.Dense
    map_shape: tuple


def read_state(state):
    """Returns the NumPy array of each tensor in a state_dict.

    Counters of batches and the prefix `module.` are removed.

    Args:
        state: Path of a `.safetensors` file or of a file that `torch.save` wrote, or a mapping
            from names to arrays. The dictionaries that the authors' training scripts wrap around a
            state_dict are unwrapped.

    Raises:
        ImportError: if reading the file needs a package that is not installed.
        ValueError: if there is no such file, or it is not a checkpoint.
    """
    if not isinstance(state, collections.abc.Mapping):
        state = _read(pathlib.Path(state))
    for keys in _WRAPPERS:
        inner = state
        for key in keys:
            inner = inner.get(key, {}) if isinstance(inner, collections.abc.Mapping) else {}
        if inner:
            state = inner
    if not isinstance(state, collections.abc.Mapping):
        raise ValueError(
            "A checkpoint maps the names of tensors to tensors; this one holds a "
            f"{type(state).__name__}."
        )
    return {
        name.removeprefix("module."): np.asarray(value)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def load_tensors(state, names, unused_prefixes, misfit):
    """Sets the weights of layers to the tensors of a state_dict: all of them, or none.

    Args:
        state: What `read_state` returned.
        names: Pairs of a module's name in the state_dict and the layer (or `AfterFlatten`) that
            takes its tensors.
        unused_prefixes: Tuple of prefixes of names to ignore.
        misfit: One or two sentences that the error starts with.

    Raises:
        ValueError: if a tensor is missing, superfluous or of another shape. It names all of them.
    """
    assignments, problems, used = [], [], set()
    for module, layer in names:
        for name, variable, layout in _tensors(module, layer):
            used.add(name)
            if name not in state:
                problems.append(f"missing: {name}, for {variable.path}")
                continue
            value = layout(state[name])
            if value.shape != tuple(variable.shape):
                problems.append(
                    f"shape: {name} is {state[name].shape}, {variable.path} needs "
                    f"{tuple(variable.shape)} (transposed: {value.shape})"
                )
                continue
            assignments.append((variable, value))
    for name in state:
        if name not in used and not name.startswith(unused_prefixes):
            problems.append(f"not in the model: {name} {state[name].shape}")
    if problems:
        raise ValueError(f"{misfit} {'; '.join(problems)}")
    for variable, value in assignments:
        variable.assign(value)


def _read(path):
    if not path.is_file():
        raise ValueError(f"There is no checkpoint file {str(path)!r}.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path):
    safetensors = require("safetensors.numpy", f"Reading {str(path)!r}", "safetensors")
    try:
        return safetensors.load_file(path)
    except Exception as error:  # safetensors has an exception of its own, which names no file.
        raise ValueError(f"{str(path)!r} is not a readable safetensors file: {error}") from error


def _read_torch(path):
    if legacy_torch.is_legacy(path):
        try:
            return legacy_torch.read(path)
        except legacy_torch.UnsupportedError:
            # PyTorch reads more.
            pass
        except Exception as error:  # A pickle can raise many kinds.
            raise _unreadable(path, error) from error
    torch = require("torch", "Reading a file that torch.save wrote", "torch")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, none of which names the file.
        raise _unreadable(path, error) from error


def _unreadable(path, error):
    return ValueError(
        f"{str(path)!r} is not a checkpoint of tensors that torch.save wrote: {error}"
    )


def _tensors(module, layer):
    """Yields name in the checkpoint, variable and change of layout of each tensor of a layer."""
    if isinstance(layer, AfterFlatten):
        yield f"{module}.weight", layer.linear.kernel, _flattened_kernel(layer.map_shape)
        yield f"{module}.bias", layer.linear.bias, np.asarray
    elif hasattr(layer, "anchors"):
        yield f"{module}.weight", layer.anchors, np.ravel
    elif hasattr(layer, "gamma"):
        yield f"{module}.weight", layer.gamma, np.asarray
        yield f"{module}.bias", layer.beta, np.asarray
        yield f"{module}.running_mean", layer.moving_mean, np.asarray
        yield f"{module}.running_var", layer.moving_variance, np.asarray
    else:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        yield f"{module}.weight", layer.kernel, _depthwise_kernel if depthwise else _kernel
        if layer.use_bias:
            yield f"{module}.bias", layer.bias, np.asarray


def _kernel(value):
    """Converts OIHW to HWIO, or (out, in) to (in, out)."""
    return np.transpose(value, (2, 3, 1, 0) if value.ndim == 4 else None)


def _depthwise_kernel(value):
    """Converts (channels, 1, height, width) to (height, width, channels, 1)."""
    return np.transpose(value, (2, 3, 0, 1))


def _flattened_kernel(map_shape):
    """Returns a function from a kernel (out, C * H * W) to (H * W * C, out)."""
    height, width, channels = map_shape

    def layout(value):
        if value.shape[1:] != (math.prod(map_shape),):
            return value.T
        value = value.reshape(-1, channels, height, width)
        return value.transpose(2, 3, 1, 0).reshape(-1, len(value))

    return layout
