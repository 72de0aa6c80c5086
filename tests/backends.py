"""The environment of a process that runs tests on another backend."""

import os

# JAX compiles the models here for longer than it runs them: quickly is better than well.
_XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def environment(backend):
    """Environment variables for a process with this Keras backend."""
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": _XLA_FLAGS,
    }
