"""Gradients with respect to a tensor, on any backend."""

import keras


def gradient(function, inputs):
    """Computes the gradient of a scalar function at a tensor.

    It works in compiled functions and in `keras.Model.predict`. Everything that the function reads
    apart from its argument counts as constant.

    Args:
        function: Function from a float tensor to a scalar tensor.
        inputs: Float tensor.

    Returns:
        A tensor of the shape and dtype of `inputs`. It is zero if the function does not depend on
        its argument.
    """
    return _BACKENDS[keras.backend.backend()](function, inputs)


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
