"""The environment of a process on another backend."""

import os

# XLA_FLAGS with which JAX compiles a model quickly rather than well. It compiles the models of the
# tests for longer than it runs them.
QUICK_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def environment(backend):
    """Environment variables for a process with this Keras backend."""
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": QUICK_TO_COMPILE,
    }
