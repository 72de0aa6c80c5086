"""Spatial attention that is a random variable, p(a|x)."""

import keras
from keras import ops

from aib_keras.layers.sampling import GaussianSampler
from aib_keras.utils.checks import check_choice, check_floating, check_known_shape


@keras.saving.register_keras_serializable(package="aib_keras")
class IBAttention(keras.layers.Layer):
    """Samples a spatial attention map from features and modulates the features with it.

    For features f it computes

        mean = sigmoid(head(f));  std = softplus(conv3x3(mean) - 5)
        a = mean + eps * std,  eps ~ N(0, 1) for each position

    and quantises a if there is a `quantizer`. A sample may lie outside [0, 1]. The output is
    `f + f * a` (`modulation="residual"`, the authors' code) or `f * a` (`"mask"`). Without
    sampling, a is the mean, and the layer is deterministic.

    `std`, the sampling and the quantiser are computed in float32 under any precision policy. The
    output has the layer's compute dtype.

    Source: Lai et al., IJCAI 2021, Section 3 and Fig. 2. The residual modulation, the form of
    `std` and the shift of 5 come from the authors' code.

    Args:
        head: Optional layer from features to the `(B, H, W, 1)` values under the sigmoid.
            Defaults to one 3x3 convolution.
        quantizer: Optional layer that quantises the map, such as `AnchorQuantizer(20)`.
        modulation: `"residual"` or `"mask"`.
        seed: Optional integer, for repeatable noise.
        kernel_initializer: Initialiser of the convolutions that the layer makes itself.

    Call arguments:
        features: Float tensor `(B, H, W, C)`.
        training: Boolean.
        sample: Boolean. True draws the map, False takes its mean, None draws while training.
        return_attention: Boolean, whether to return the maps too.

    Call returns:
        The modulated features `(B, H, W, C)`. With `return_attention=True`, a tuple of these and a
        dict of float32 tensors `(B, H, W, 1)`: `attention_mean` in (0, 1), `attention_std` > 0,
        `attention` (the map before quantisation: sampled, or the mean) and, with a quantiser,
        `attention_quantized`.

    Raises:
        ValueError: if the features are not of rank 4, or `head` does not return one channel of the
            same height and width.
        TypeError: if the features are not floats.
    """

    def __init__(
        self,
        head=None,
        quantizer=None,
        modulation="residual",
        seed=None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.modulation = check_choice("modulation", modulation, ("residual", "mask"))
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.head = head if head is not None else self._conv("head", self.dtype_policy)
        self.std_conv = self._conv("std_conv", "float32")
        self.quantizer = quantizer
        self.seed = seed
        self.sampler = GaussianSampler(seed=seed, name="sampler")

    def _conv(self, name, dtype):
        return keras.layers.Conv2D(
            1,
            3,
            padding="same",
            data_format="channels_last",
            # A clone, because one initialiser without a seed draws the same values each time.
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=dtype,
            name=name,
        )

    def build(self, features_shape):
        check_known_shape(self.name, features_shape, 4, "(batch, height, width, channels)")
        if not self.head.built:
            self.head.build(features_shape)
        map_shape = (*features_shape[:-1], 1)
        head_shape = tuple(self.head.compute_output_shape(features_shape))
        if head_shape != map_shape:
            raise ValueError(
                f"The head of {self.name} must turn features {tuple(features_shape)} into one "
                f"value per position, {map_shape}, and it returns {head_shape}."
            )
        self.std_conv.build(map_shape)
        self.sampler.build(map_shape)
        if self.quantizer is not None and not self.quantizer.built:
            self.quantizer.build(map_shape)

    def distribution(self, features, training=None):
        """Returns mean in (0, 1) and standard deviation > 0 of the map, float32 `(B, H, W, 1)`."""
        logits = self.head(features, training=training)
        mean = ops.sigmoid(ops.cast(logits, "float32"))
        return mean, ops.softplus(self.std_conv(mean) - 5.0)

    def modulate(self, features, attention):
        """Returns features `(B, H, W, C)` modulated by a map, and the quantised map or None."""
        quantized = None if self.quantizer is None else self.quantizer(attention)
        used = attention if quantized is None else quantized
        features = ops.cast(features, self.compute_dtype)
        masked = features * ops.cast(used, self.compute_dtype)
        return (features + masked if self.modulation == "residual" else masked), quantized

    def call(self, features, training=None, sample=None, return_attention=False):
        check_floating(self.name, features)
        mean, std = self.distribution(features, training=training)
        attention = self.sampler(mean, std, training=training, sample=sample)
        modulated, quantized = self.modulate(features, attention)
        if not return_attention:
            return modulated
        maps = {"attention_mean": mean, "attention_std": std, "attention": attention}
        if quantized is not None:
            maps["attention_quantized"] = quantized
        return modulated, maps

    def get_config(self):
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "quantizer": keras.saving.serialize_keras_object(self.quantizer),
            "modulation": self.modulation,
            "seed": self.seed,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for part in ("head", "quantizer"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)
