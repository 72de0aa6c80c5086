"""What differs between backends: the environment of a process, and the highest seed."""

import os

import keras

# XLA_FLAGS with which JAX compiles a model quickly rather than well. It compiles the models of the
# tests for longer than it runs them.
QUICK_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

# Of Keras's generators, whose state is int32 on PyTorch.
HIGHEST_SEED = 2**31 - 1 if keras.backend.backend() == "torch" else 2**32 - 1


def environment(backend):
    """Environment variables for a process with this Keras backend."""
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": QUICK_TO_COMPILE,
    }
