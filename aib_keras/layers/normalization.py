"""Batch normalisation with TensorFlow's fused kernel."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="aib_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, faster in training on TensorFlow.

    On TensorFlow, Keras computes the layer as a chain of separate operations. This layer uses the
    fused kernel where it computes the same: in training, for the last axis of inputs
    `(B, H, W, C)`, without a mask, renormalisation or synchronised replicas. Elsewhere, and on
    other backends, it is Keras's layer. The results agree up to rounding, and so do the moving
    statistics: Keras's moving variance is that of the batch as it is, without Bessel's correction.

    The arguments, call arguments, returns and weights are those of
    `keras.layers.BatchNormalization`, and files with weights of one load into the other.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable and self._has_fused_kernel(inputs, mask)):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = inputs.shape[-1]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma if self.scale else tf.ones(channels),
            offset=self.beta if self.center else tf.zeros(channels),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            data_format="NHWC",
            is_training=True,
        )
        # The kernel returns the variance times n / (n - 1).
        count = ops.cast(math.prod(ops.shape(inputs)[:-1]), "float32")
        variance = variance * (count - 1.0) / count
        momentum = self.momentum
        self.moving_mean.assign(self.moving_mean * momentum + mean * (1.0 - momentum))
        self.moving_variance.assign(self.moving_variance * momentum + variance * (1.0 - momentum))
        return outputs

    def _has_fused_kernel(self, inputs, mask):
        return (
            keras.backend.backend() == "tensorflow"
            and mask is None
            # Keras 3.13 does not have it.
            and not getattr(self, "renorm", False)
            and not self.synchronized
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
            # The kernel takes no statistics in half precision.
            and self.variable_dtype == "float32"
        )
