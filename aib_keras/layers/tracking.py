"""Metrics of values that a layer computes in its `call`."""

import keras
from keras import ops


class StepMean(keras.metrics.Mean):
    """Mean over images of a scalar that a layer computes for each batch; NaN if there was none.

    On TensorFlow and torch the value counts at once. Keras's JAX trainer keeps the state of metrics
    out of the forward pass: there the value waits until `collect_step_means` is called in the same
    trace, from the model's `compute_loss`. `aib_keras.models.TrackedModel` does that.

    Batches count by their size, as in the mean of the loss that Keras reports.
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
        """Counts what waits, if anything does."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            value, batch_size = waiting
            self.update_state(ops.stop_gradient(value), sample_weight=batch_size)

    def result(self):
        # Without an observation Keras's mean is 0, which would read as a measurement.
        return ops.where(self.count > 0, super().result(), float("nan"))


def collect_step_means(model):
    """Counts the values that wait in the layers of a model. For its `compute_loss`."""
    for metric in model.metrics:
        if isinstance(metric, StepMean):
            metric.collect()
