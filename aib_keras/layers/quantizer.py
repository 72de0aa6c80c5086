"""Quantisation of an attention map to learned anchors (Eq. 9 and the last terms of Eq. 10)."""

import keras
from keras import ops

from aib_keras.layers.tracking import StepMean, loss_term, mean_or_zero
from aib_keras.utils.checks import check_floating, check_integer, check_non_negative


@keras.saving.register_keras_serializable(package="aib_keras")
class AnchorQuantizer(keras.layers.Layer):
    """Replaces every value by the nearest of a few learned scalars.

    The anchors start as `linspace(0, 1, num_anchors)`. The forward pass returns the nearest anchor,
    the lower one on a tie, in whatever order training has put them. The backward pass passes the
    gradient to the input unchanged (straight-through). The layer adds

        quantization_weight * mean((sg[a] - a_q)^2) + commitment_weight * mean((a - sg[a_q])^2)

    to the losses of the model, where sg stops the gradient and the means are over all positions.
    The first term moves the anchors, the second the input. The layer computes in float32 under any
    precision policy, because half precision picks wrong anchors.

    Metrics (means over an epoch): `quantization_mse`, `commitment_mse`, and `anchors_in_use`, the
    share of anchors, in [0, 1], that at least one position of a batch uses. On the JAX backend,
    `fit` shows them for an `aib_keras.models.TrackedModel`, and NaN for other models.

    Source: Lai et al., IJCAI 2021, Eq. 9 and 10. The norms are means, as in the authors' code.

    Args:
        num_anchors: Integer, at least 2.
        quantization_weight: Non-negative float, the paper's lambda_q.
        commitment_weight: Non-negative float, the paper's lambda_c.

    Call arguments:
        inputs: Float tensor of any shape, for example a map `(B, H, W, 1)`.

    Returns:
        A float32 tensor of the shape of `inputs`.

    Raises:
        ValueError: for fewer than 2 anchors or a negative weight.
        TypeError: if the inputs are not floats.
    """

    def __init__(self, num_anchors, quantization_weight=0.4, commitment_weight=0.1, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.num_anchors = check_integer("num_anchors", num_anchors, minimum=2)
        self.quantization_weight = check_non_negative("quantization_weight", quantization_weight)
        self.commitment_weight = check_non_negative("commitment_weight", commitment_weight)
        self.quantization_mse = StepMean("quantization_mse")
        self.commitment_mse = StepMean("commitment_mse")
        self.anchors_in_use = StepMean("anchors_in_use")

    def build(self, input_shape):
        self.anchors = self.add_weight(
            name="anchors",
            shape=(self.num_anchors,),
            initializer=lambda shape, dtype: ops.linspace(0.0, 1.0, shape[0], dtype=dtype),
            autocast=False,
        )

    def call(self, inputs):
        check_floating(self.name, inputs)
        inputs = ops.cast(inputs, "float32")
        anchors, index = self._nearest(inputs)
        quantized = ops.take(anchors, index, axis=0)
        choice = ops.one_hot(ops.reshape(index, (-1,)), self.num_anchors, dtype="float32")
        # The same values as `quantized`. The gradient of `take` adds the positions to their anchors
        # one by one, which is slow on a GPU; that of a sum is a sum.
        nearest = ops.reshape(ops.sum(choice * anchors, axis=-1), ops.shape(inputs))

        quantization = mean_or_zero(ops.square(ops.stop_gradient(inputs) - nearest))
        commitment = mean_or_zero(ops.square(inputs - ops.stop_gradient(quantized)))
        loss = self.quantization_weight * quantization + self.commitment_weight * commitment
        self.add_loss(loss_term(loss))
        batch_size = ops.shape(inputs)[0] if inputs.shape else 1
        self.quantization_mse.observe(quantization, batch_size)
        self.commitment_mse.observe(commitment, batch_size)
        in_use = ops.mean(ops.max(choice, axis=0, initial=0.0))
        self.anchors_in_use.observe(in_use, batch_size)

        # Not `inputs + sg[quantized - inputs]`, which would round: the output is an anchor exactly.
        return ops.stop_gradient(quantized) + (inputs - ops.stop_gradient(inputs))

    def _nearest(self, inputs):
        """Returns the sorted anchors and the index of the nearest one of each input."""
        # Counting the midpoints below a value gives its nearest sorted anchor, and unlike argmin
        # over distances it converts to LiteRT's builtin operations. These broadcast up to rank 4,
        # which a map (B, H, W, 1) has without an axis more.
        anchors = ops.sort(ops.cast(self.anchors, "float32"))
        midpoints = (anchors[1:] + anchors[:-1]) / 2
        is_map = bool(inputs.shape) and inputs.shape[-1] == 1
        values = inputs if is_map else ops.expand_dims(inputs, -1)
        return anchors, ops.sum(ops.cast(values > midpoints, "int32"), axis=-1, keepdims=is_map)

    def compute_output_spec(self, inputs):
        check_floating(self.name, inputs)
        return keras.KerasTensor(inputs.shape, dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "num_anchors": self.num_anchors,
            "quantization_weight": self.quantization_weight,
            "commitment_weight": self.commitment_weight,
        }
