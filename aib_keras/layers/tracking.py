"""Metrics of values that a layer computes in its `call`."""

import keras
from keras import ops


def mean_or_zero(values):
    """Returns the mean of a float tensor, and 0 without any values.

    On TensorFlow, a replica gets a batch of no images where the last batch has fewer images than
    there are devices. The mean of its values would be NaN, and so would that of all replicas.
    """
    count = ops.cast(ops.size(values), values.dtype)
    return ops.sum(values) / ops.maximum(count, ops.cast(1, values.dtype))


def loss_term(value):
    """Returns a scalar for `add_loss`, in the type in which Keras sums losses."""
    return ops.cast(value, keras.config.floatx())


class StepMean(keras.metrics.Mean):
    """Mean over images of a scalar that a layer computes per batch. NaN without any batch.

    On TensorFlow and torch the value counts at once. Keras's JAX trainer keeps the state of metrics
    out of the forward pass. There, the value waits until the model's `compute_loss` calls
    `collect_step_means` in the same trace, as `aib_keras.models.TrackedModel` does.

    Batches count by their size, as in the mean loss that Keras reports.
    """

    def __init__(self, name):
        super().__init__(name=name, dtype="float32")
        self._waiting = None

    def observe(self, value, batch_size):
        """Counts a scalar for `batch_size` images, or on JAX keeps it for `collect`."""
        if keras.backend.backend() == "jax":
            self._waiting = value, batch_size
        else:
            self.update_state(value, sample_weight=batch_size)

    def collect(self):
        """Counts the waiting value, if there is one."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            value, batch_size = waiting
            self.update_state(ops.stop_gradient(value), sample_weight=batch_size)

    def result(self):
        # Without an observation Keras's mean is 0, which would look like a measurement.
        return ops.where(self.count > 0, super().result(), float("nan"))


def collect_step_means(model):
    """Counts the waiting values in the layers of a model. Call it in `compute_loss`."""
    for metric in model.metrics:
        if isinstance(metric, StepMean):
            metric.collect()
