"""Which devices train: one, a MirroredStrategy (TensorFlow), or DataParallel (JAX)."""

import contextlib
import warnings

import keras

from aib_keras.utils.checks import check_choice

STRATEGIES = ("one", "mirrored", "data_parallel")

_REFUSED_WHEN_MIRRORED = (
    "global_clipnorm",
    "gradient_accumulation_steps",
    "ema_overwrite_frequency",
)


@contextlib.contextmanager
def devices(strategy):
    """Context in which to build, compile and fit a model on the chosen devices.

    Args:
        strategy: `"one"`: one device; `"mirrored"`: `tf.distribute.MirroredStrategy` over all
            devices, TensorFlow only; `"data_parallel"`: `keras.distribution.DataParallel` over all
            devices, JAX only.

    Yields:
        The number of devices.

    Raises:
        ValueError: for a strategy that the backend does not have.
    """
    check_choice("strategy", strategy, STRATEGIES)
    if strategy == "mirrored":
        with _mirrored() as number:
            yield number
    elif strategy == "data_parallel":
        with _data_parallel() as number:
            yield number
    else:
        yield 1


@contextlib.contextmanager
def _mirrored():
    _need_backend("mirrored", "tensorflow")
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        strategy = tf.distribute.MirroredStrategy()
    else:
        # The default reduction is for GPUs: on CPUs it fails with several steps an execution.
        strategy = tf.distribute.MirroredStrategy(
            [device.name for device in tf.config.list_logical_devices("CPU")],
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )
    if strategy.num_replicas_in_sync == 1:
        warnings.warn(
            "--strategy=mirrored found one device, on which it only turns XLA off: "
            "--strategy=one is faster.",
            stacklevel=2,
        )
    with strategy.scope():
        yield strategy.num_replicas_in_sync


@contextlib.contextmanager
def _data_parallel():
    _need_backend("data_parallel", "jax")
    previous = keras.distribution.distribution()
    distribution = keras.distribution.DataParallel()
    keras.distribution.set_distribution(distribution)
    try:
        yield len(keras.distribution.list_devices())
    finally:
        keras.distribution.set_distribution(previous)


def _need_backend(strategy, backend):
    if keras.backend.backend() != backend:
        raise ValueError(
            f"--strategy={strategy} needs Keras's {backend} backend, and this is "
            f"{keras.backend.backend()}. Set KERAS_BACKEND={backend}, or use --strategy=one."
        )


def check_batch_size(batch_size, number):
    """Raises a ValueError unless a global batch divides evenly between the devices."""
    if batch_size % number:
        raise ValueError(
            f"--batch_size={batch_size} does not divide evenly between {number} devices: take a "
            f"multiple of {number}."
        )


def check_mirrored(optimizer, jit_compile):
    """Raises a ValueError for what does not work under a MirroredStrategy."""
    for name in _REFUSED_WHEN_MIRRORED:
        if getattr(optimizer, name, None):
            raise ValueError(
                f"The optimiser's {name}={getattr(optimizer, name)!r} does not work under "
                "--strategy=mirrored: leave it out, or train on one device, or on JAX with "
                "--strategy=data_parallel."
            )
    if jit_compile is True:
        raise ValueError("--jit=true does not work under --strategy=mirrored: leave it out.")


def synchronize_batch_norm(model, synchronized):
    """Has every batch norm take its statistics over all replicas, or over its own only.

    With statistics of their own the replicas' moving averages drift apart, one replica's are
    saved, and the result depends on the number of devices.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized


def has_accelerator():
    """Whether the backend computes on a GPU or TPU."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    return False
