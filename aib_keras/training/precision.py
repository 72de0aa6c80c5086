"""Which precision trains fastest on this machine."""

import pathlib

import keras

from aib_keras.training.device_strategies import has_accelerator

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")

_CPU_INFO = pathlib.Path("/proc/cpuinfo")
# Without these units a CPU emulates bfloat16, which takes several times as long as float32.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def resolve_precision(precision):
    """Returns the Keras policy that a precision stands for.

    Args:
        precision: One of `PRECISIONS`. `"auto"` is `"mixed_bfloat16"` on an accelerator, and with
            TensorFlow on a CPU that has units for bfloat16; elsewhere it is `"float32"`.

    Returns:
        A string, the name of a policy.
    """
    if precision != "auto":
        return precision
    on_cpu = keras.backend.backend() == "tensorflow" and cpu_has_bfloat16()
    return "mixed_bfloat16" if has_accelerator() or on_cpu else "float32"


def cpu_has_bfloat16():
    """Returns whether the CPU has units for bfloat16, as far as Linux says so."""
    try:
        text = _CPU_INFO.read_text()
    except OSError:
        return False
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return bool(_BFLOAT16_FLAGS & set(next(lines, "").split()))


def use_fast_kernels(policy):
    """Lets TensorFlow on a CPU compute more than the policy names in bfloat16, with oneDNN."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    on_cpu = policy == "mixed_bfloat16" and not has_accelerator() and cpu_has_bfloat16()
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": on_cpu})
