"""Gradients on any backend."""

import keras


def gradient(function, inputs):
    """The gradient of a scalar function at a tensor.

    Works within compiled functions and within `keras.Model.predict`. What the function reads beside
    its argument is constant to it.

    Args:
        function: From a float tensor to a scalar tensor.
        inputs: Float tensor.

    Returns:
        A tensor of the shape and dtype of `inputs`; zeros if the function does not depend on it.
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

    # Keras predicts with gradients turned off.
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        value = function(inputs)
        if not value.requires_grad:
            return torch.zeros_like(inputs)
        return torch.autograd.grad(value, inputs, materialize_grads=True)[0]


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
