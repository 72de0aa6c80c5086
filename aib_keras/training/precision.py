"""Which precision trains fastest on this machine."""

import contextlib
import pathlib
import re

import keras

from aib_keras.training.device_strategies import has_accelerator

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")

_CPU_INFO = pathlib.Path("/proc/cpuinfo")
_AMPERE = (8, 0)
_ONEDNN_BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"
# Without these units a CPU emulates bfloat16, which takes several times as long as float32.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def resolve_precision(precision):
    """Returns the Keras policy that a precision stands for.

    Args:
        precision: One of `PRECISIONS`. `"auto"` is `"mixed_bfloat16"` where there are units for it:
            with TensorFlow or JAX on an accelerator, and with TensorFlow on a CPU. Elsewhere, and
            with PyTorch, it is `"float32"`.

    Returns:
        A string, the name of a policy.
    """
    if precision != "auto":
        return precision
    if has_accelerator():
        fast = accelerator_has_bfloat16()
    else:
        fast = keras.backend.backend() == "tensorflow" and cpu_has_bfloat16()
    return "mixed_bfloat16" if fast else "float32"


def accelerator_has_bfloat16():
    """Returns whether the first accelerator has units for bfloat16, as NVIDIA's have since Ampere.

    What says nothing of its compute capability, such as a TPU or an AMD GPU, is taken to have them.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = map(
            tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU")
        )
        capability = next(details, {}).get("compute_capability")
    else:
        import jax

        text = str(getattr(jax.devices()[0], "compute_capability", ""))
        # Of AMD's it is a name.
        is_number = re.fullmatch(r"\d+(\.\d+)*", text)
        capability = tuple(map(int, text.split("."))) if is_number else None
    return capability is None or capability >= _AMPERE


def cpu_has_bfloat16():
    """Returns whether the CPU has units for bfloat16, as far as Linux says so."""
    try:
        text = _CPU_INFO.read_text()
    except OSError:
        return False
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return bool(_BFLOAT16_FLAGS & set(next(lines, "").split()))


@contextlib.contextmanager
def fast_kernels(policy):
    """Lets TensorFlow on a CPU compute more than the policy names in bfloat16, with oneDNN."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    on_cpu = policy == "mixed_bfloat16" and not has_accelerator() and cpu_has_bfloat16()
    before = tf.config.optimizer.get_experimental_options().get(_ONEDNN_BFLOAT16, False)
    tf.config.optimizer.set_experimental_options({_ONEDNN_BFLOAT16: on_cpu})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_ONEDNN_BFLOAT16: before})
