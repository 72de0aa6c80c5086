"""Reads checkpoints of the paper's authors' PyTorch release into the zoo's models."""

import collections.abc
import pathlib

import numpy as np

from aib_keras.models.wide_resnet import BLOCKS_PER_GROUP

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
    wanted = dict(_torch_names(model))
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


def _torch_names(model):
    """Pairs of a module's name in the checkpoint and the layer that holds its tensors."""
    if model.name == "vgg":
        return _vgg_names(model)
    if model.name in ("vgg_aib", "vgg_aib_qt"):
        return [*_vgg_aib_names(model), *_shared_names(model, hidden="decode.0", logits="decode.2")]
    if model.name in ("wrn_aib", "wrn_aib_qt"):
        return [*_wrn_aib_names(model), *_shared_names(model, hidden=None, logits="decode.1")]
    raise ValueError(
        f"The authors have no checkpoint of {model.name!r}: expected vgg, vgg_aib, vgg_aib_qt, "
        "wrn_aib or wrn_aib_qt, as the zoo makes them."
    )


def _shared_names(model, hidden, logits):
    yield "att_module_std.0", model.attention.std_conv
    if model.attention.quantizer is not None:
        yield "emb", model.attention.quantizer
    if hidden is not None:
        yield hidden, model.decoder.get_layer("hidden")
    yield logits, model.decoder.get_layer("logits")


def _conv_blocks(part, convolutions):
    """`convolutions`: (module, layer) of the convolutions, each followed by its batch norm."""
    for module, layer in convolutions:
        block, index = module.rsplit(".", 1)
        yield module, part.get_layer(layer)
        yield f"{block}.{int(index) + 1}", part.get_layer(f"{layer}_bn")


def _vgg_names(model):
    modules = [f"conv_block{block}.op.{op}" for block in (1, 2) for op in (0, 3)]
    modules += [f"conv_block{block}.op.{op}" for block in (3, 4, 5) for op in (0, 3, 6)]
    modules += [f"conv_block6.op.{op}" for op in (0, 4)]
    names = _conv_names(1, (7,)) + _conv_names(2, (3, 3, 1, 1))
    yield from _conv_blocks(model.backbone, zip(modules, names, strict=True))
    yield "dense", model.backbone.get_layer("global_conv")
    yield "classify", model.backbone.get_layer("logits")


def _vgg_aib_names(model):
    modules = [f"features.{block}.op.{op}" for block in (0, 1) for op in (0, 3)]
    modules += [f"features.2.op.{op}" for op in (0, 3, 6)]
    features = zip(modules, _conv_names(1, (7,)), strict=True)
    yield from _conv_blocks(model.feature_extractor, features)

    modules = [f"encode.{block}.op.{op}" for block in (0, 2) for op in (0, 3, 6)]
    modules += [f"encode.4.op.{op}" for op in (0, 4)]
    trunk = model.encoder.trunk
    yield from _conv_blocks(trunk, zip(modules, _conv_names(2, (3, 3, 1, 1)), strict=True))
    yield "encode.5", trunk.get_layer("global_conv")
    yield "encode.8", model.encoder.linear
    yield "att_module_mu.0", model.attention.head


def _conv_names(first_block, counts):
    return [
        f"block{block}_conv{index}"
        for block, count in enumerate(counts, start=first_block)
        for index in range(1, count + 1)
    ]


def _wrn_aib_names(model):
    features, head, trunk = model.feature_extractor, model.attention.head, model.encoder.trunk
    yield "conv1", features.get_layer("stem")
    yield from _wrn_group("block1", features, "group1")
    yield from _wrn_group("block2", features, "group2")
    yield from _wrn_group("att_module_mu.0", head, "group")
    for module, layer in (
        ("att_module_mu.1", "group_bn"),
        ("att_module_mu.2", "class_conv"),
        ("att_module_mu.3", "class_bn"),
        ("att_module_mu.5", "map_conv"),
        ("att_module_mu.6", "map_bn"),
    ):
        yield module, head.get_layer(layer)
    yield from _wrn_group("encode.0", trunk, "group3")
    yield "encode.1", trunk.get_layer("final_bn")
    yield "encode.5", model.encoder.linear


def _wrn_group(module, part, group):
    layers = {layer.name for layer in part.layers}
    for index in range(BLOCKS_PER_GROUP):
        block = f"{group}_block{index + 1}"
        for child, layer in (
            ("bn1", "bn1"),
            ("conv1", "conv1"),
            ("bn2", "bn2"),
            ("conv2", "conv2"),
            ("convShortcut", "shortcut"),
        ):
            if f"{block}_{layer}" in layers:
                yield f"{module}.layer.{index}.{child}", part.get_layer(f"{block}_{layer}")


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
