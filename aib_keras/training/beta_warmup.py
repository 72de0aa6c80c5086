"""The warm-up of the weights of information: beta of the latent, and map_beta of the map."""

import keras

from aib_keras.layers.information_weights import charge_in_full, information_weights
from aib_keras.utils.checks import check_integer


class BetaWarmup(keras.callbacks.Callback):
    """Raises the weights of the KL divergence and of the map's price linearly, epoch by epoch.

    In a new model the KL divergence is about 4.5 nats per dimension of z. With the full weight from
    the first step, the encoder lowers it by making z independent of the input, before the model has
    learned anything.

    beta is 0 until epoch `start * epochs`, and from epoch `end * epochs` on it has the value that
    the layer was created with. It depends only on the epoch, so a resumed training continues as it
    would have. `map_beta` of an `IBAttention` with a price rises with it. When the training
    ends, both get their full value. Keras does not tell callbacks of an interruption, and a file
    that another callback saves during the warm-up has the values of that epoch: assign
    `encoder.beta` and `attention.map_beta` before you train such a model further. Pass the callback
    to `fit` of any model with a `VariationalEncoder` or such an `IBAttention` in it:

        model.fit(images, labels, epochs=20, callbacks=[BetaWarmup(epochs=20)])

    Args:
        epochs: Integer, epochs of the whole training.
        start: Float in [0, 1], the share of the training before the rise.
        end: Float in [start, 1], the share of the training at its end. With `start=0, end=0` there
            is no warm-up.

    Raises:
        ValueError: for a value out of its range; in `fit`, for a model without such a layer.
    """

    def __init__(self, epochs, start=0.2, end=0.8):
        super().__init__()
        self.epochs = check_integer("epochs", epochs, minimum=1)
        if not 0 <= start <= end <= 1:
            raise ValueError(f"Expected 0 <= start <= end <= 1, got start={start}, end={end}.")
        self.start = start
        self.end = end

    def on_train_begin(self, logs=None):
        if not information_weights(self.model):
            raise ValueError(
                "BetaWarmup needs a model with a VariationalEncoder or a priced IBAttention, and "
                f"{self.model.name} has none. Leave the callback out."
            )

    def on_epoch_begin(self, epoch, logs=None):
        for weight, full in information_weights(self.model):
            weight.assign(full * self.factor(epoch))

    def on_train_end(self, logs=None):
        # So that a saved model charges the full price when it is trained further.
        charge_in_full(self.model)

    def factor(self, epoch):
        """Returns the share of the full beta in an epoch (from 0), in [0, 1]."""
        progress = epoch / self.epochs
        if progress >= self.end:
            return 1.0
        if progress <= self.start:
            return 0.0
        return (progress - self.start) / (self.end - self.start)
