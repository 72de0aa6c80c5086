"""Reads checkpoints of the paper's authors' PyTorch release into the zoo's models."""

import collections.abc
import pathlib

import numpy as np

from aib_keras.zoo.authors_names import torch_names

_WRAPPERS = (("model_states", "net"), ("state_dict",))
# Leftovers of the Attention Branch Network in the authors' WRN: never in its forward pass.
_UNUSED_PREFIXES = ("block3.", "bn1.", "att_block3.", "bn_att", "att_conv")


def load_authors_checkpoint(model, state):
    """Sets the weights of a zoo model to those of a checkpoint by the paper's authors.

    Args:
        model: `zoo.vgg_aib`, `vgg_aib_qt`, `wrn_aib`, `wrn_aib_qt`, or `vgg` (whose checkpoints
            are those of the Learn to Pay Attention code that the authors build on).
        state: Path of a file that `torch.save` wrote (PyTorch is needed to read it), or a mapping
            from the names of the state_dict to arrays, convolution kernels as OIHW.

    Raises:
        ValueError: if anything does not fit: a tensor that the model needs and the checkpoint
            does not have, one that it has and the model does not, or another shape; all are named.
            The model is then unchanged.
    """
    state = _state_dict(state)
    wanted = dict(torch_names(model))
    assignments, problems, used = [], [], set()
    for module, layer in wanted.items():
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
        if name not in used and not _is_unused(model, name):
            problems.append(f"not in the model: {name} {state[name].shape}")
    if problems:
        raise ValueError(
            f"The checkpoint does not fit {model.name}; is it of this model, with this number of "
            "classes, anchors and latent dimensions? " + "; ".join(problems)
        )
    for variable, value in assignments:
        variable.assign(value)


def _state_dict(state):
    """The mapping from names to numpy arrays, out of a path or of the wrappers around it."""
    if not isinstance(state, collections.abc.Mapping):
        state = _read(pathlib.Path(state))
    for keys in _WRAPPERS:
        inner = state
        for key in keys:
            inner = inner.get(key, {}) if isinstance(inner, collections.abc.Mapping) else {}
        if inner:
            state = inner
    return {
        name.removeprefix("module."): np.asarray(value)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _read(path):
    if not path.is_file():
        raise ValueError(f"There is no checkpoint file {str(path)!r}.")
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Reading a file that torch.save wrote needs PyTorch: pip install torch. Or pass a "
            "mapping from names to arrays."
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, none of which names the file.
        raise ValueError(
            f"{str(path)!r} is not a checkpoint of tensors that torch.save wrote: {error}"
        ) from error


def _is_unused(model, name):
    return model.name.startswith("wrn") and name.startswith(_UNUSED_PREFIXES)


def _tensors(module, layer):
    """Name in the checkpoint, variable and change of layout of each tensor of a layer."""
    if hasattr(layer, "anchors"):
        yield f"{module}.weight", layer.anchors, np.ravel
    elif hasattr(layer, "gamma"):
        yield f"{module}.weight", layer.gamma, np.asarray
        yield f"{module}.bias", layer.beta, np.asarray
        yield f"{module}.running_mean", layer.moving_mean, np.asarray
        yield f"{module}.running_var", layer.moving_variance, np.asarray
    else:
        yield f"{module}.weight", layer.kernel, _kernel
        if layer.use_bias:
            yield f"{module}.bias", layer.bias, np.asarray


def _kernel(value):
    """OIHW to HWIO, or (out, in) to (in, out)."""
    return np.transpose(value, (2, 3, 1, 0) if value.ndim == 4 else None)
