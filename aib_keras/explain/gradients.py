"""Gradients with respect to a tensor, on any backend."""

import keras
from keras import ops

# With less, gradients of pixels would be below the least number of float16.
_SCALE_IN_FLOAT16 = 2.0**10


def gradient(function, inputs, model):
    """Computes the gradient of a scalar function at a tensor.

    It works in compiled functions and in `keras.Model.predict`. Everything that the function reads
    apart from its argument counts as constant.

    Args:
        function: Function from a float tensor to a scalar tensor.
        inputs: Float tensor.
        model: The model that the function runs. If it computes in float16, the scalar is scaled
            up for the gradient, as `keras.optimizers.LossScaleOptimizer` does in training.

    Returns:
        A float32 tensor of the shape of `inputs`. It is zero if the function does not depend on
        its argument.
    """
    half = any(str(layer.compute_dtype) == "float16" for layer in model._flatten_layers())
    scale = _SCALE_IN_FLOAT16 if half else 1.0
    found = _BACKENDS[keras.backend.backend()](lambda tensor: scale * function(tensor), inputs)
    return ops.cast(found, "float32") / scale


def _tensorflow(function, inputs):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        value = function(inputs)
    return tape.gradient(value, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _jax(function, inputs):
    import jax

    return jax.grad(function)(inputs)


def _torch(function, inputs):
    import torch

    # Keras turns gradients off in `predict`.
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        value = function(inputs)
        if not value.requires_grad:
            return torch.zeros_like(inputs)
        return torch.autograd.grad(value, inputs, materialize_grads=True)[0]


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
