"""The cross-entropy with label smoothing, for integer labels."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="aib_keras")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy in nats of integer labels, a share of which is spread over all classes.

    Keras has `label_smoothing` only in losses of one-hot labels.

    Source: Szegedy et al., CVPR 2016, Section 7.

    Args:
        label_smoothing: Float in [0, 1], the share.
        from_logits: Boolean, whether predictions are logits rather than probabilities.
    """

    def __init__(self, label_smoothing, from_logits=True, name="smoothed_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
            # As Keras's losses of integer labels accept them.
            y_true = ops.squeeze(y_true, axis=-1)
        labels = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            labels, y_pred, from_logits=self.from_logits, label_smoothing=self.label_smoothing
        )

    def get_config(self):
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "from_logits": self.from_logits,
        }
