"""The warm-up of beta, the weight of the KL divergence."""

import keras

from aib_keras.layers import VariationalEncoder
from aib_keras.utils.checks import check_integer


def variational_encoders(model):
    """Returns the `VariationalEncoder` layers in a model, nested ones included."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, VariationalEncoder)]


class BetaWarmup(keras.callbacks.Callback):
    """Raises the weight beta of the KL divergence linearly, epoch by epoch.

    At its start the KL divergence is about 4.5 nats per dimension of z. With the full weight from
    the first step, the model discards it, and z with it, before it has learned anything.

    beta is 0 up to the epoch `start * epochs` and has the value that its layer was made with from
    `end * epochs` on. It depends only on the epoch, so a resumed training continues as it would
    have. Pass the callback to `fit` of any model with a `VariationalEncoder` in it:

        model.fit(images, labels, epochs=20, callbacks=[BetaWarmup(epochs=20)])

    Args:
        epochs: Integer, epochs of the whole training.
        start: Float in [0, 1], the share of the training before the rise.
        end: Float in [start, 1], the share of the training at its end. With `end=0` there is no
            warm-up.

    Raises:
        ValueError: for a value out of its range; in `fit`, for a model without a
            `VariationalEncoder`.
    """

    def __init__(self, epochs, start=0.2, end=0.8):
        super().__init__()
        self.epochs = check_integer("epochs", epochs, minimum=1)
        if not 0 <= start <= end <= 1:
            raise ValueError(f"Expected 0 <= start <= end <= 1, got start={start}, end={end}.")
        self.start = start
        self.end = end

    def on_train_begin(self, logs=None):
        if not variational_encoders(self.model):
            raise ValueError(
                f"BetaWarmup needs a model with a VariationalEncoder, and {self.model.name} has "
                "none. Leave the callback out."
            )

    def on_epoch_begin(self, epoch, logs=None):
        for encoder in variational_encoders(self.model):
            encoder.beta.assign(encoder.initial_beta * self.factor(epoch))

    def factor(self, epoch):
        """Returns the share of the full beta in an epoch (from 0), in [0, 1]."""
        progress = epoch / self.epochs
        if progress >= self.end:
            return 1.0
        if progress <= self.start:
            return 0.0
        return (progress - self.start) / (self.end - self.start)
