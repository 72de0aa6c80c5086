"""Noise that resumes where it stopped, for sampling and dropout."""

import keras
from keras import ops

from aib_keras.utils.checks import check_number, check_seed

# Far apart, so that the seeds of the replicas of one layer do not meet the seeds of another.
_REPLICA_STRIDE = 1_000_003


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """A `SeedGenerator` that draws a different seed on each replica of a `tf.distribute` strategy.

    Keras's own generator draws the same seed on every replica of a `MirroredStrategy`, so that all
    replicas have the same noise. Without a strategy, on one replica and on other backends, this
    generator draws exactly what Keras's does.
    """

    def next(self, ordered=True):
        seed = super().next(ordered)
        replica = _replica_id()
        if replica is None:
            return seed
        offset = ops.cast(ops.stack([replica * _REPLICA_STRIDE, 0]), seed.dtype)
        return seed + offset


def _replica_id():
    """Returns the index of the current replica, or None if there is only one."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context.replica_id_in_sync_group


def moments_of_replicas(x, axes):
    """Returns mean and variance of a tensor over all replicas of a `tf.distribute` strategy."""
    mean, variance = ops.moments(x, axes)
    if _replica_id() is None:
        return mean, variance
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    # A small batch leaves some replicas with fewer images, or with none, whose moments are NaN.
    count = ops.cast(ops.size(x) / ops.size(mean), mean.dtype)
    sums = [ops.where(count > 0, count * each, 0.0) for each in (mean, variance + ops.square(mean))]
    count, *sums = context.all_reduce(tf.distribute.ReduceOp.SUM, [count, *sums])
    mean, squares = (each / count for each in sums)
    return mean, squares - ops.square(mean)


class SavedSeed:
    """Mixin for a layer with a `seed_generator`, whose state it saves with the layer's weights.

    Keras saves the state of a `SeedGenerator` in neither `.keras` nor `.weights.h5`, so that a
    resumed training draws other noise than an uninterrupted one. A file without the state loads
    too, and leaves the generator as it is.
    """

    _SEED_KEY = "seed_generator_state"

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store[self._SEED_KEY] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        # The store of a `.weights.h5` file is not a mapping: it has keys and values, but no items.
        stored = {key: store[key] for key in list(store.keys())}
        state = stored.pop(self._SEED_KEY, None)
        super().load_own_variables(stored)
        if state is not None:
            self.seed_generator.state.assign(state)


@keras.saving.register_keras_serializable(package="aib_keras")
class GaussianSampler(SavedSeed, keras.layers.Layer):
    """Draws from a diagonal normal distribution by the reparametrisation `mean + eps * std`.

    It samples in float32 under any precision policy. Gradients reach `mean` and `std`.

    Args:
        seed: Optional integer, for repeatable noise.

    Call arguments:
        mean: Float tensor of any shape.
        std: Float tensor of the shape of `mean`, non-negative.
        training: Boolean, whether the model trains.
        sample: Boolean. True draws, False returns `mean`, None draws while training.

    Call returns:
        A float32 tensor of the shape of `mean`.

    Raises:
        ValueError: for a `seed` that is not an integer in [0, 2**32 - 1], or if the layer is built
            for `mean` and `std` of different shapes.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.seed = None if seed is None else check_seed("seed", seed)
        self.seed_generator = ReplicaSeedGenerator(self.seed)

    def build(self, mean_shape, std_shape=None):
        if std_shape is not None and tuple(mean_shape) != tuple(std_shape):
            raise ValueError(
                f"{self.name} needs `mean` and `std` of the same shape, got {mean_shape} and "
                f"{std_shape}."
            )

    def call(self, mean, std, training=None, sample=None):
        mean = ops.cast(mean, "float32")
        if not should_sample(training, sample):
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype="float32", seed=self.seed_generator)
        return mean + noise * ops.cast(std, "float32")

    def compute_output_spec(self, mean, std, training=None, sample=None):
        return keras.KerasTensor(mean.shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="aib_keras")
class Dropout(SavedSeed, keras.layers.Layer):
    """Dropout whose noise resumes where it stopped and differs between replicas.

    Otherwise it works as `keras.layers.Dropout`, which accepts no other seed generator.

    Args:
        rate: Float in [0, 1), the share of values that are set to 0. The others are scaled up by
            1 / (1 - rate).
        seed: Optional integer, for repeatable noise.

    Raises:
        ValueError: for a `rate` out of its range, or a `seed` that is not an integer in
            [0, 2**32 - 1].
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = check_number("rate", rate, minimum=0.0)
        if rate >= 1:
            raise ValueError(f"`rate` must be less than 1, got {rate!r}.")
        self.supports_masking = True
        self.seed = None if seed is None else check_seed("seed", seed)
        self.seed_generator = ReplicaSeedGenerator(self.seed)

    def call(self, inputs, training=None):
        if not training or self.rate == 0:
            return inputs
        return keras.random.dropout(inputs, self.rate, seed=self.seed_generator)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def should_sample(training, sample):
    """Returns whether to draw: `sample`, or `training` if `sample` is None."""
    return bool(training) if sample is None else bool(sample)
