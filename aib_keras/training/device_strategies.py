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
    """Chooses the devices on which a model is built, compiled and trained inside the context.

        with aib_keras.training.devices("mirrored"):
            model = aib_keras.zoo.vgg_aib_qt()
            aib_keras.training.fit(model, train_data, validation_data, config, "runs/mirrored")

    Args:
        strategy: `"one"`: one device. `"mirrored"`: `tf.distribute.MirroredStrategy` over all
            devices, on TensorFlow only. `"data_parallel"`: `keras.distribution.DataParallel` over
            all devices, on JAX only.

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
        # The default reduction is for GPUs. On CPUs it fails with several steps per execution.
        strategy = tf.distribute.MirroredStrategy(
            [device.name for device in tf.config.list_logical_devices("CPU")],
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )
    if strategy.num_replicas_in_sync == 1:
        warnings.warn(
            'strategy="mirrored" found one device, on which it only turns XLA off. '
            'strategy="one" is faster.',
            stacklevel=2,
        )
    with strategy.scope():
        yield strategy.num_replicas_in_sync


@contextlib.contextmanager
def _data_parallel():
    _need_backend("data_parallel", "jax")
    previous = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        yield len(keras.distribution.list_devices())
    finally:
        keras.distribution.set_distribution(previous)


def _need_backend(strategy, backend):
    if keras.backend.backend() != backend:
        raise ValueError(
            f'strategy="{strategy}" needs Keras\'s {backend} backend, and this is '
            f"{keras.backend.backend()}. Set the environment variable KERAS_BACKEND={backend}, or "
            'use strategy="one".'
        )


def is_mirrored():
    """Whether this code runs in the scope of a `tf.distribute` strategy."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.distribute.has_strategy()


def count():
    """Returns the number of devices that share a batch here."""
    if is_mirrored():
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    if keras.backend.backend() == "jax" and keras.distribution.distribution() is not None:
        return len(keras.distribution.list_devices())
    return 1


def check_batch_size(batch_size, number):
    """Raises a ValueError unless a batch divides evenly between the devices."""
    if batch_size % number:
        raise ValueError(
            f"`batch_size` {batch_size} does not divide evenly between {number} devices. Choose a "
            f"multiple of {number}."
        )


def check_mirrored(optimizer, jit):
    """Raises a ValueError for what does not work under a MirroredStrategy."""
    for name in _REFUSED_WHEN_MIRRORED:
        if getattr(optimizer, name, None):
            raise ValueError(
                f"The optimiser's {name}={getattr(optimizer, name)!r} does not work under a "
                "MirroredStrategy. Leave it out, or train on one device, or on JAX with "
                'strategy="data_parallel".'
            )
    if jit is True:
        raise ValueError("`jit=True` does not work under a MirroredStrategy. Leave it out.")


def synchronize_batch_norm(model, synchronized):
    """Sets whether every batch norm takes its statistics over all replicas.

    With statistics of their own the replicas' moving averages drift apart, one replica's are
    saved, and the result depends on the number of devices.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized


def has_accelerator():
    """Whether the backend computes on a GPU or TPU that XLA compiles for."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    return False
