"""Which devices train: one, a MirroredStrategy (TensorFlow), or several on JAX."""

import contextlib
import warnings

import keras

from aib_keras.training import hosts
from aib_keras.utils import processes
from aib_keras.utils.checks import check_choice

STRATEGIES = ("one", "mirrored", "data_parallel", "model_parallel")
# Names under which TensorFlow's strategy for several hosts may be asked for.
_MULTI_WORKER = ("multi_worker_mirrored", "MultiWorkerMirroredStrategy")

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
            all devices of all hosts, on JAX only. With one process per host, all run this same
            program; docs/guides/hosts.md explains how to start them. `"model_parallel"`:
            `keras.distribution.ModelParallel`, for models too large for one device, over the
            devices of one process, on JAX only. Every device has a part of each layer's weights
            and sees the whole batch.

    Yields:
        The number of devices.

    Raises:
        ValueError: if the backend does not support the strategy, or if the environment variables
            for several processes are incomplete, contradict each other or do not fit the strategy.
        RuntimeError: if JAX has computed something before this process joins others.
    """
    if strategy in _MULTI_WORKER:
        raise ValueError(hosts.NO_MULTI_WORKER)
    check_choice("strategy", strategy, STRATEGIES)
    hosts.join(strategy)
    if strategy == "mirrored":
        with _mirrored() as number:
            yield number
    elif strategy == "data_parallel":
        with _data_parallel() as number:
            yield number
    elif strategy == "model_parallel":
        with _model_parallel() as number:
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
    # Every process reads its own share of a batch, see `SharedBatches`.
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    number = len(keras.distribution.list_devices())
    if number == 1:
        warnings.warn(
            'strategy="data_parallel" found one device, on which strategy="one" computes the same '
            "and can hold the training examples in the device's memory.",
            stacklevel=4,
        )
    with distribution.scope():
        yield number


@contextlib.contextmanager
def _model_parallel():
    _need_backend("model_parallel", "jax")
    if processes.count() > 1:
        raise ValueError(
            f'strategy="model_parallel" works in one process, and this is one of '
            f'{processes.count()}. Use strategy="data_parallel" on several hosts.'
        )
    names = keras.distribution.list_devices()
    if len(names) == 1:
        warnings.warn(
            'strategy="model_parallel" found one device, which holds the whole model. '
            'strategy="one" does the same.',
            stacklevel=4,
        )
    mesh = keras.distribution.DeviceMesh((1, len(names)), ["batch", "model"], names)
    with SplitModel(mesh).scope():
        yield len(names)


class SplitModel(keras.distribution.ModelParallel):
    """`keras.distribution.ModelParallel` with a layout for any convolutional classifier.

    It splits each weight along its last axis, that of the output channels, over the mesh's axis
    `model`, if the axis divides evenly. Other weights, such as those of a one-channel map, are
    small, and every device holds them whole. The state of the optimiser is split as its weights.

    Args:
        device_mesh: `keras.distribution.DeviceMesh` with the axes `batch` and `model`.
    """

    def __init__(self, device_mesh):
        super().__init__(
            layout_map=keras.distribution.LayoutMap(device_mesh),
            batch_dim_name="batch",
            auto_shard_dataset=False,
        )

    def get_variable_layout(self, variable):
        parts = self.device_mesh.shape[self.device_mesh.axis_names.index("model")]
        axes = [None] * len(variable.shape)
        # Not the seeds, which are integers.
        if axes and "float" in variable.dtype and variable.shape[-1] % parts == 0:
            axes[-1] = "model"
        return keras.distribution.TensorLayout(axes, self.device_mesh)


def _need_backend(strategy, backend):
    if keras.backend.backend() != backend:
        raise ValueError(
            f'strategy="{strategy}" needs Keras\'s {backend} backend, but the current one is '
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
    if is_distributed():
        return processes.replicas()
    return 1


def is_distributed():
    """Whether Keras spreads batches or variables over JAX devices here."""
    return keras.backend.backend() == "jax" and keras.distribution.distribution() is not None


def check_scope():
    """Raises a ValueError where the current scope is none that `fit` can train in."""
    if is_mirrored():
        import tensorflow as tf

        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            raise ValueError(hosts.NO_MULTI_WORKER)
    if processes.count() == 1:
        return
    if isinstance(keras.distribution.distribution(), keras.distribution.ModelParallel):
        raise ValueError(
            f"`fit` does not split a model over {processes.count()} processes: process 0 could not "
            "save it. Use a ModelParallel in one process, or a DataParallel."
        )
    if not is_distributed():
        raise ValueError(
            f"This is one of {processes.count()} processes, and without a distribution each would "
            'train a model of its own. Call `fit` inside `training.devices("data_parallel")`.'
        )


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


def prepare_replicas(model):
    """Makes the replicas of a MirroredStrategy compute gradients of one model together.

    Every batch norm takes its statistics over all replicas. With statistics of their own their
    moving averages drift apart, one replica's are saved, and the result depends on the number of
    devices.

    At each call, every replica clears the terms that layers have added to the loss, and they share
    the list of these. So they wait for each other, lest one clear what another has added already.
    """
    import tensorflow as tf

    for norm in _batch_norms(model):
        norm.synchronized = True

    def clear_losses():
        type(model)._clear_losses(model)
        context = tf.distribute.get_replica_context()
        if context is not None:
            context.merge_call(lambda strategy: None)

    model._clear_losses = clear_losses


@contextlib.contextmanager
def left_as_it_was(model):
    """Takes back at the end what a training changes in a model apart from its weights.

    The training function of `train_on_device` holds the examples and accepts no others, so it is
    removed, too.
    """
    norms = _batch_norms(model)
    synchronized = [norm.synchronized for norm in norms]
    try:
        yield
    finally:
        for norm, value in zip(norms, synchronized, strict=True):
            norm.synchronized = value
        if "_clear_losses" in vars(model):
            del model._clear_losses
        model.train_function = None


def _batch_norms(model):
    layers = model._flatten_layers()
    return [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]


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
