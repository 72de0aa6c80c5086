"""The noise that attention and latent are sampled with, and how it survives a restart."""

import keras
from keras import ops

# Far apart, so that the seeds of the replicas of one layer do not meet the seeds of another.
_REPLICA_STRIDE = 1_000_003


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """A `SeedGenerator` that draws a different seed on each replica of a `tf.distribute` strategy.

    Keras's own generator gives every replica of a `MirroredStrategy` the same seed, so that the
    images of one replica get the noise of another's. Without a strategy, on one replica and on
    other backends it is Keras's generator to the bit.
    """

    def next(self, ordered=True):
        seed = super().next(ordered)
        replica = _replica_id()
        if replica is None:
            return seed
        offset = ops.cast(ops.stack([replica * _REPLICA_STRIDE, 0]), seed.dtype)
        return seed + offset


def _replica_id():
    """Index of the current replica, or None if there is only one."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context.replica_id_in_sync_group


class SavedSeed:
    """Mixin for a layer with a `seed_generator`: its state is saved with the layer's weights.

    Keras keeps the state of a `SeedGenerator` in neither `.keras` nor `.weights.h5`, so that a
    resumed training draws other noise than an uninterrupted one would have. A file without the
    state (written by another tool) loads too, and leaves the generator as it is.
    """

    _SEED_KEY = "seed_generator_state"

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store[self._SEED_KEY] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        # The store of a `.weights.h5` file is no mapping: it has keys and values, but no items.
        stored = {key: store[key] for key in list(store.keys())}
        state = stored.pop(self._SEED_KEY, None)
        super().load_own_variables(stored)
        if state is not None:
            self.seed_generator.state.assign(state)


@keras.saving.register_keras_serializable(package="aib_keras")
class GaussianSampler(SavedSeed, keras.layers.Layer):
    """Draws from a diagonal normal distribution by the reparametrisation `mean + eps * std`.

    Samples in float32 whatever the precision policy; gradients reach `mean` and `std`.

    Args:
        seed: Optional integer, for repeatable noise.

    Call arguments:
        mean: Float tensor of any shape.
        std: Float tensor of the shape of `mean`, non-negative.
        training: Boolean, whether the model trains.
        sample: Boolean: draw (True) or return `mean` (False). None draws while training.

    Returns:
        A float32 tensor of the shape of `mean`.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)

    def build(self, mean_shape, std_shape=None):
        if std_shape is not None and tuple(mean_shape) != tuple(std_shape):
            raise ValueError(
                f"{self.name}: `mean` and `std` need one shape, got {mean_shape} and {std_shape}."
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

    Otherwise as `keras.layers.Dropout`, which closes itself to another seed generator.

    Args:
        rate: Float in [0, 1), the share of values set to 0; the others are scaled up by
            1 / (1 - rate).
        seed: Optional integer, for repeatable noise.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must lie in [0, 1), got {rate!r}.")
        self.rate = rate
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)

    def call(self, inputs, training=None):
        if not training or self.rate == 0:
            return inputs
        return keras.random.dropout(inputs, self.rate, seed=self.seed_generator)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def should_sample(training, sample):
    """Whether to draw: what `sample` says, and while training if it says nothing."""
    return bool(training) if sample is None else bool(sample)
