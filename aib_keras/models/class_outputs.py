"""What classifiers return: logits, or the probabilities that their last layer makes of them."""

import contextlib

import keras
import numpy as np
from keras import ops

from aib_keras.models.graphs import outputs_of

# How far from 1 the sum of probabilities may be.
_SUM_TOLERANCE = 1e-3
_SUM_TOLERANCE_IN_16_BITS = 0.02
# How far two computations of one probability may be apart.
_TOLERANCE = 1e-5
_TOLERANCE_IN_16_BITS = 5e-3
# Gradients of the logarithm of smaller probabilities would overflow.
_LEAST_PROBABILITY = 1e-30
# Activations of Keras and of TensorFlow, which calls its own softmax "softmax_v2". The sigmoid is
# that of classes that do not exclude each other.
_SOFTMAX = ("softmax", "softmax_v2")
_TO_PROBABILITIES = (*_SOFTMAX, "sigmoid")


def check_class_outputs(model):
    """Raises a ValueError unless a model returns one tensor `(B, C)`, with C of at least 2.

    Of a subclassed model the outputs are not known before it runs: it passes.
    """
    outputs = outputs_of(model)
    in_a_dict = outputs and isinstance(getattr(model, "output", None), dict)
    if len(outputs) > 1 or in_a_dict:
        raise ValueError(
            f"{model.name} has {len(outputs)} outputs{' in a dict' if in_a_dict else ''}, and one "
            "with a logit or a probability per class was expected. Pass a model of one of them, "
            "such as keras.Model(model.inputs, model.outputs[0])."
        )
    if outputs:
        check_class_shape(model, outputs[0].shape)


def check_class_shape(model, shape):
    """Raises a ValueError unless the shape of a model's outputs is `(B, C)`, with C at least 2."""
    if len(shape) != 2 or (shape[-1] is not None and shape[-1] < 2):
        raise ValueError(
            f"{model.name} must return logits or probabilities (B, C) of at least 2 classes; its "
            f"outputs have shape {tuple(shape)}. A model with one output for two classes needs a "
            "second one: for the logit x, the logits are 0 and x."
        )


def are_probabilities(outputs, tolerance=None):
    """Whether an array `(B, C)` holds probabilities: rows of at least 0 with a sum of 1.

    Args:
        outputs: Array.
        tolerance: How far from 1 the sums may be. Defaults to what the array's precision allows.
    """
    outputs = np.asarray(outputs)
    if tolerance is None:
        tolerance = _SUM_TOLERANCE if outputs.dtype.itemsize > 2 else _SUM_TOLERANCE_IN_16_BITS
    sums = outputs.astype("float64").sum(axis=-1)
    return bool(outputs.min() >= 0 and np.abs(sums - 1).max() < tolerance)


def returns_probabilities(model, outputs):
    """Whether a model returns probabilities, by its last layer or by some of its outputs."""
    if _to_probabilities(model) is not None:
        return True
    return are_probabilities(outputs, _tolerance(model))


def logits(model, images):
    """Returns the logits of a batch, float32 `(B, C)`, without sampling.

    A softmax or sigmoid at the end of the model is left out, because the gradient of a probability
    is nearly 0 where the model is sure. A subclassed model does not say where its outputs come
    from. There, a softmax that is the only one among its layers is left out, if the outputs are its
    probabilities. Otherwise the logarithms of probabilities are returned. They are logits, too, but
    their gradient is nearly 0 where the model is sure.
    """
    last = _to_probabilities(model)
    if last is not None and _is_used_once(last):
        with _without(last):
            return _logarithms(model, _outputs(model, images))
    outputs = _outputs(model, images)
    found = _logarithms(model, outputs)
    last = last or _only_softmax(model)
    if last is None:
        return found
    with _without(last):
        before = _outputs(model, images)
    # Its probabilities may be those of a gate, or be averaged afterwards.
    distance = ops.max(ops.abs(ops.cast(_applied(last, before), "float32") - outputs))
    tolerance = _TOLERANCE_IN_16_BITS if _has_16_bits(model) else _TOLERANCE
    return ops.where(distance < tolerance, before, found)


def _outputs(model, images):
    return ops.cast(model(images, training=False), "float32")


def _logarithms(model, outputs):
    """Returns the logarithms of probabilities, and other outputs as they are."""
    distance = ops.max(ops.abs(ops.sum(outputs, axis=-1) - 1))
    found = ops.logical_and(ops.min(outputs) >= 0, distance < _tolerance(model))
    return ops.where(found, ops.log(ops.maximum(outputs, _LEAST_PROBABILITY)), outputs)


def _tolerance(model):
    """Returns how far from 1 the sum of the probabilities of a model may be."""
    return _SUM_TOLERANCE_IN_16_BITS if _has_16_bits(model) else _SUM_TOLERANCE


def _has_16_bits(model):
    layers = [model, *getattr(model, "layers", ())]
    return any(str(each.compute_dtype) in ("float16", "bfloat16") for each in layers)


def _to_probabilities(model):
    """Returns the operation at the end of a model that makes probabilities of logits, or None."""
    outputs = outputs_of(model)
    if not outputs:
        return None
    last, node, _ = outputs[0]._keras_history
    while _changes_nothing(last):
        (before,) = last._inbound_nodes[node].input_tensors
        last, node, _ = before._keras_history
    if isinstance(last, keras.Model):
        return _to_probabilities(last)
    return last if _makes_probabilities(last, _TO_PROBABILITIES) else None


def _changes_nothing(operation):
    """Whether an operation only passes on its input, as a cast of mixed precision does."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.linear
    return isinstance(operation, keras.layers.Identity)


def _makes_probabilities(operation, names):
    # Of a layer with an activation its name; else the layer, or the operation of `keras.ops`.
    name = getattr(getattr(operation, "activation", operation.__class__), "__name__", "")
    return name.lower() in names


def _is_used_once(operation):
    return len(operation._inbound_nodes) < 2


def _only_softmax(model):
    """Returns the only softmax among the layers of a model whose graph is not known, or None."""
    if outputs_of(model):
        return None
    found = []
    for layer in model.layers:
        last = layer
        if isinstance(layer, keras.Model):
            last = _to_probabilities(layer) or _only_softmax(layer)
        if last is not None and _makes_probabilities(last, _SOFTMAX):
            found.append(last)
    return found[0] if len(found) == 1 else None


def _applied(operation, inputs):
    """Returns the probabilities that an operation makes of logits."""
    if hasattr(operation, "activation"):
        return operation.activation(inputs)
    return type(operation).call(operation, inputs)


@contextlib.contextmanager
def _without(last):
    """Leaves out what makes probabilities of logits while the context is active."""
    if hasattr(last, "activation"):
        activation, last.activation = last.activation, keras.activations.linear
        try:
            yield
        finally:
            last.activation = activation
    else:
        last.call = lambda inputs, *args, **kwargs: inputs
        try:
            yield
        finally:
            # Uncovers the method of the class.
            del last.call
