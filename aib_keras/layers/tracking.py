"""Metrics of values that a layer computes in its `call`."""

import keras
from keras import ops


class StepMean(keras.metrics.Mean):
    """Mean over steps of a scalar that a layer hands over in its `call`; NaN if there was none.

    On TensorFlow and torch the value counts at once. Keras's JAX trainer keeps the state of metrics
    out of the forward pass: there the value waits until `collect_step_means` is called in the same
    trace, from the model's `compute_loss`. `aib_keras.models.TrackedModel` does that.
    """

    def __init__(self, name):
        super().__init__(name=name, dtype="float32")
        self._waiting = None

    def observe(self, value):
        """Counts a scalar, or on JAX keeps it for `collect`."""
        if keras.backend.backend() == "jax":
            self._waiting = value
        else:
            self.update_state(value)

    def collect(self):
        """Counts what waits, if anything does."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.update_state(ops.stop_gradient(waiting))

    def result(self):
        # Without an observation Keras's mean is 0, which would read as a measurement.
        return ops.where(self.count > 0, super().result(), float("nan"))


def collect_step_means(model):
    """Counts the values that wait in the layers of a model. For its `compute_loss`."""
    for metric in model.metrics:
        if isinstance(metric, StepMean):
            metric.collect()
