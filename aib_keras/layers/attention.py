"""Spatial attention that is a random variable, p(a|x)."""

import functools

import keras
from keras import ops

from aib_keras.layers.sampling import GaussianSampler, moments_of_replicas, should_sample
from aib_keras.layers.tracking import StepMean, loss_term, mean_or_zero
from aib_keras.utils.checks import (
    check_choice,
    check_floating,
    check_known_shape,
    check_non_negative,
    check_positive,
)

MODULATIONS = ("residual", "mask", "noise")
# Of the running statistics of the features, which the noise has: as of the zoo's batch norms.
_MOMENTUM = 0.9
_EPSILON = 1e-5
# The largest share of the features that passes: without any noise, the information is infinite.
_MOST = 0.999
# Of all backends.
_SEEDS = 2**31


@keras.saving.register_keras_serializable(package="aib_keras")
class IBAttention(keras.layers.Layer):
    """Samples a spatial attention map from features and modulates the features with it.

    For features f it computes

        mean = sigmoid(head(f));  std = softplus(conv3x3(mean) - 5)
        a = mean + eps * std,  eps ~ N(0, 1) for each position

    and quantises a if there is a `quantizer`. A sample may lie outside [0, 1]. The output depends
    on the modulation:

    - `"residual"`: `f + f * a`, the authors' code. All features pass, whatever the map.
    - `"mask"`: `f * a`.
    - `"noise"`: `a * f + (1 - a) * noise`, where a is clipped to [0, 0.999] and the noise has the
      features' running mean and variance per channel. The information that passes at a position
      can then be computed, in nats: the KL divergence of the noisy features from pure noise
      (Schulz et al., ICLR 2020, who optimise such a map for each image).

    Without sampling, a and the noise are their means, and the layer is deterministic.

    Nothing in the paper's objective charges for the map itself. `map_beta` is the weight of a price
    that makes it selective: the mean of a^2 over positions, and for `"noise"` the mean of the KL
    divergence over positions and channels. It is a variable, which
    `aib_keras.training.BetaWarmup` warms up. With a price, the layer reports what passes as the
    metric `map_energy`, the mean of a^2, or `map_nats`, nats per image.

    `std`, the sampling, the quantiser and the price are computed in float32 under any precision
    policy. The output has the layer's compute dtype.

    Source: Lai et al., IJCAI 2021, Section 3 and Fig. 2. The residual modulation, the form of
    `std` and the shift of 5 come from the authors' code. The price of the map is ours.

    Args:
        head: Optional layer from features to the `(B, H, W, 1)` values under the sigmoid.
            Defaults to one 3x3 convolution.
        quantizer: Optional layer that quantises the map, such as `AnchorQuantizer(20)`.
        modulation: `"residual"`, `"mask"` or `"noise"`.
        map_beta: Non-negative float, the weight of the map's price.
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
        `attention` (the map before quantisation: sampled, or the mean), with a quantiser
        `attention_quantized`, and with `"noise"` `attention_nats`, the information that passes at
        each position, summed over the channels.

    Raises:
        ValueError: for another `modulation`, a negative `map_beta`, features that are not of rank
            4, or a `head` that does not return one channel of the same height and width.
        TypeError: if the features are not floats.
    """

    def __init__(
        self,
        head=None,
        quantizer=None,
        modulation="residual",
        map_beta=0.0,
        seed=None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.modulation = check_choice("modulation", modulation, MODULATIONS)
        self.initial_map_beta = check_non_negative("map_beta", map_beta)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.head = head if head is not None else self._conv("head", self.dtype_policy)
        self.std_conv = self._conv("std_conv", "float32")
        self.quantizer = quantizer
        self.seed = seed
        self.sampler = GaussianSampler(seed=seed, name="sampler")
        # Only where they are used, so that files of layers without a price load.
        self._map_beta = self.price_metric = self.noise_sampler = None
        if self.initial_map_beta:
            noisy = self.modulation == "noise"
            self.price_metric = StepMean("map_nats" if noisy else "map_energy")
            self._map_beta = self.add_weight(
                name="map_beta",
                shape=(),
                dtype="float32",
                initializer=keras.initializers.Constant(self.initial_map_beta),
                trainable=False,
                autocast=False,
            )
        if self.modulation == "noise":
            # Another seed, or the noise of the features would be that of the map.
            noise_seed = None if seed is None else (self.sampler.seed + 1) % _SEEDS
            self.noise_sampler = GaussianSampler(seed=noise_seed, name="noise_sampler")

    @property
    def map_beta(self):
        """The weight of the map's price, a variable, or None. A number may be assigned to it."""
        return self._map_beta

    @map_beta.setter
    def map_beta(self, value):
        if self._map_beta is None:
            raise ValueError(
                f"{self.name} has no price of its map. Create it with `map_beta` above 0."
            )
        # Not 0, with which a file of the layer would have no such variable.
        self.initial_map_beta = check_positive("map_beta", value)
        self._map_beta.assign(value)

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
        if not self.trainable:
            # It has no configuration of its own in a file, which could say so.
            self.std_conv.trainable = False
        self.sampler.build(map_shape)
        if self.modulation == "noise":
            self.noise_sampler.build(features_shape)
            for name, initializer in (("noise_mean", "zeros"), ("noise_variance", "ones")):
                statistic = self.add_weight(
                    name=name,
                    shape=features_shape[-1:],
                    dtype="float32",
                    initializer=initializer,
                    trainable=False,
                    autocast=False,
                )
                setattr(self, name, statistic)
        if self.quantizer is not None and not self.quantizer.built:
            self.quantizer.build(map_shape)

    def distribution(self, features, training=None):
        """Returns mean in (0, 1) and standard deviation > 0 of the map, float32 `(B, H, W, 1)`."""
        logits = self.head(features, training=training)
        mean = ops.sigmoid(ops.cast(logits, "float32"))
        return mean, ops.softplus(self.std_conv(mean) - 5.0)

    def modulate(self, features, attention, training=None, sample=None, draw=None):
        """Modulates features by a map.

        Args:
            features: Float tensor `(B, H, W, C)`.
            attention: Float tensor `(B, H, W, 1)`, before quantisation.
            training: Boolean, whether to update the running statistics of the features, which only
                `"noise"` has.
            sample: Boolean, whether to draw the noise. Used only by `"noise"`.
            draw: Optional function of (mean, std) that draws the noise in place of the layer's own
                sampler.

        Returns:
            A tuple of the modulated features `(B, H, W, C)` and a dict of the maps that were
            computed on the way: `attention_quantized` and `attention_nats`, as they apply.
        """
        maps = {}
        if self.quantizer is not None:
            attention = maps["attention_quantized"] = self.quantizer(attention)
        if self.modulation == "noise":
            if draw is None:
                draw = functools.partial(self.noise_sampler, sample=bool(sample))
            modulated, nats = self._replace_by_noise(features, attention, training, draw)
            maps["attention_nats"] = nats
            price = mean_or_zero(nats) / features.shape[-1]
            metric = mean_or_zero(ops.sum(nats, (1, 2, 3)))
        else:
            features = ops.cast(features, self.compute_dtype)
            modulated = features * ops.cast(attention, self.compute_dtype)
            if self.modulation == "residual":
                modulated = features + modulated
            price = metric = mean_or_zero(ops.square(attention))
        if self.map_beta is not None:
            self.add_loss(loss_term(ops.cast(self.map_beta, "float32") * price))
            self.price_metric.observe(metric, ops.shape(features)[0])
        return modulated, maps

    def _replace_by_noise(self, features, attention, training, draw):
        features = ops.cast(features, "float32")
        if training and self.trainable:
            mean, variance = moments_of_replicas(ops.stop_gradient(features), (0, 1, 2))
            for statistic, value in ((self.noise_mean, mean), (self.noise_variance, variance)):
                statistic.assign(_MOMENTUM * statistic + (1.0 - _MOMENTUM) * value)
        scale = ops.sqrt(ops.convert_to_tensor(self.noise_variance) + _EPSILON)
        normalized = (features - self.noise_mean) / scale
        # The gradient passes the clip, as it passes the quantiser: a map at its top anchor would
        # otherwise have none.
        share = ops.stop_gradient(ops.clip(attention, 0.0, _MOST))
        share = share + (attention - ops.stop_gradient(attention))
        noise_std = ops.broadcast_to(1.0 - share, ops.shape(normalized))
        passed = draw(share * normalized, noise_std)
        # KL[N(a r, (1 - a)^2) || N(0, 1)] of each unit r.
        kl = 0.5 * (ops.square(share * normalized) + ops.square(1.0 - share) - 1.0)
        nats = ops.sum(kl - ops.log(1.0 - share), axis=-1, keepdims=True)
        return ops.cast(passed * scale + self.noise_mean, self.compute_dtype), nats

    def call(self, features, training=None, sample=None, return_attention=False):
        check_floating(self.name, features)
        mean, std = self.distribution(features, training=training)
        attention = self.sampler(mean, std, training=training, sample=sample)
        sample = should_sample(training, sample)
        modulated, maps = self.modulate(features, attention, training=training, sample=sample)
        if not return_attention:
            return modulated
        return modulated, {
            "attention_mean": mean,
            "attention_std": std,
            "attention": attention,
            **maps,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "quantizer": keras.saving.serialize_keras_object(self.quantizer),
            "modulation": self.modulation,
            "map_beta": self.initial_map_beta,
            "seed": self.seed,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for part in ("head", "quantizer"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)
