"""What classifiers return: logits, or the probabilities that their last layer makes of them."""

import contextlib

import keras
import numpy as np
from keras import ops

from aib_keras.models.graphs import outputs_of

# How far from 1 the sum of probabilities may be.
_SUM_TOLERANCE = 1e-3
_SUM_TOLERANCE_IN_16_BITS = 0.02
# Gradients of the logarithm of smaller probabilities would overflow.
_LEAST_PROBABILITY = 1e-30
# Activations of Keras and of TensorFlow, which calls its own softmax "softmax_v2". The sigmoid is
# that of classes that do not exclude each other.
_TO_PROBABILITIES = ("softmax", "softmax_v2", "sigmoid")


def check_class_outputs(model):
    """Raises a ValueError unless a model returns one tensor `(B, C)`, with C of at least 2.

    Of a subclassed model the outputs are not known before it runs: it passes.
    """
    outputs = outputs_of(model)
    if len(outputs) > 1:
        raise ValueError(
            f"{model.name} has {len(outputs)} outputs, and one with a logit or a probability per "
            "class was expected. Pass a model of one of them, such as keras.Model(model.inputs, "
            "model.outputs[0])."
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
    is nearly 0 where the model is sure. Where a softmax is out of reach, as in a subclassed model,
    the logarithms of the probabilities are returned, which are logits, too.
    """
    with _without_probabilities(model):
        outputs = ops.cast(model(images, training=False), "float32")
    distance = ops.max(ops.abs(ops.sum(outputs, axis=-1) - 1))
    found = ops.logical_and(ops.min(outputs) >= 0, distance < _tolerance(model))
    return ops.where(found, ops.log(ops.maximum(outputs, _LEAST_PROBABILITY)), outputs)


def _tolerance(model):
    """Returns how far from 1 the sum of the probabilities of a model may be."""
    layers = [model, *getattr(model, "layers", ())]
    halves = {"float16", "bfloat16"} & {str(each.compute_dtype) for each in layers}
    return _SUM_TOLERANCE_IN_16_BITS if halves else _SUM_TOLERANCE


def _to_probabilities(model):
    """Returns the operation at the end of a model that makes probabilities of logits, or None."""
    outputs = outputs_of(model)
    if not outputs:
        return None
    last = outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return _to_probabilities(last)
    # Of a layer with an activation its name; else the layer, or the operation of `keras.ops`.
    name = getattr(getattr(last, "activation", last.__class__), "__name__", "")
    return last if name.lower() in _TO_PROBABILITIES else None


@contextlib.contextmanager
def _without_probabilities(model):
    """Makes a model return logits while the context is active, if its last layer is known."""
    last = _to_probabilities(model)
    if last is None:
        yield
    elif hasattr(last, "activation"):
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
