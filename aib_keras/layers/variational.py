"""The variational encoder p(z|x, a) and the price of its information."""

import keras
from keras import ops

from aib_keras.layers.sampling import GaussianSampler
from aib_keras.layers.tracking import StepMean, loss_term, mean_or_zero
from aib_keras.utils.checks import (
    check_choice,
    check_floating,
    check_integer,
    check_known_shape,
    check_non_negative,
)


def _kl(mean, std, log_std):
    """Returns KL[N(mean, std^2) || N(0, I)] in nats, summed over the last axis."""
    return ops.sum(0.5 * (ops.square(mean) + ops.square(std) - 1.0) - log_std, axis=-1)


def _log_softplus(x):
    # softplus(x) underflows to 0 below about -100; there it is exp(x) to float32's precision.
    # The inner `where` keeps the gradient of the branch not taken finite.
    small = x < -15.0
    return ops.where(small, x, ops.log(ops.softplus(ops.where(small, 0.0, x))))


@keras.saving.register_keras_serializable(package="aib_keras")
class VariationalEncoder(keras.layers.Layer):
    """Encodes features as a normal distribution and charges for the information in it.

    A linear layer returns 2K numbers: the first K are the mean, and `std = softplus(last K - 5)`.
    The output is `z = mean + eps * std`, eps ~ N(0, I), or the mean without sampling. The layer
    adds `beta * KL[N(mean, std^2) || N(0, I)]` to the losses of the model, in nats, summed over
    the K dimensions and averaged over the batch. It reports that KL divergence as the metric
    `kl_nats`. On the JAX backend, `fit` shows it for an `aib_keras.models.TrackedModel`, and NaN
    for other models.

    `beta` is a variable that is saved with the layer, so that a callback can warm it up
    (`aib_keras.training.BetaWarmup`). In a new layer the KL divergence is about 4.5 nats per
    dimension. With the full weight from the first step, the encoder lowers it by making z
    independent of the input, before the model has learned anything.

    The distribution, the sampling and the KL divergence are computed in float32 under any
    precision policy.

    Source: Lai et al., IJCAI 2021, Eq. 10; Alemi et al., ICLR 2017.

    Args:
        latent_dim: Integer K, at least 1.
        beta: Non-negative float, the weight of the KL divergence.
        kl_scale: `"std"`: the loss has the KL divergence of the distribution that z is drawn from
            (the paper). `"exp_std"`: the loss has exp(std) in place of std, as in the authors'
            code. `kl_nats` always refers to the distribution that z is drawn from, so values for
            the two settings can be compared.
        trunk: Optional layer or model that is applied first and returns `(B, D)`.
        seed: Optional integer, for repeatable noise.
        kernel_initializer: Initialiser of the linear layer.

    Call arguments:
        inputs: Float tensor `(B, D)`, or what the trunk takes.
        training: Boolean.
        sample: Boolean. True draws z, False takes its mean, None draws while training.
        return_distribution: Boolean, whether to return the distribution too.

    Call returns:
        z, float32 `(B, K)`. With `return_distribution=True`, a tuple of z and a dict of float32
        tensors: `latent_mean` and `latent_std`, `(B, K)`, and `kl_nats`, `(B,)`.

    Raises:
        ValueError: for an argument out of its range or inputs of the wrong rank.
        TypeError: if the inputs are not floats.
    """

    def __init__(
        self,
        latent_dim,
        beta=0.01,
        kl_scale="std",
        trunk=None,
        seed=None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.latent_dim = check_integer("latent_dim", latent_dim, minimum=1)
        self.initial_beta = check_non_negative("beta", beta)
        self.kl_scale = check_choice("kl_scale", kl_scale, ("std", "exp_std"))
        self.trunk = trunk
        self.seed = seed
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.linear = keras.layers.Dense(
            2 * self.latent_dim,
            kernel_initializer=self.kernel_initializer,
            dtype="float32",
            name="linear",
        )
        self.sampler = GaussianSampler(seed=seed, name="sampler")
        self.kl_nats = StepMean("kl_nats")
        self._beta = self.add_weight(
            name="beta",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(self.initial_beta),
            trainable=False,
            autocast=False,
        )

    @property
    def beta(self):
        """The weight of the KL divergence, a variable. A number may be assigned to it."""
        return self._beta

    @beta.setter
    def beta(self, value):
        self.initial_beta = check_non_negative("beta", value)
        self._beta.assign(value)

    def build(self, input_shape):
        if self.trunk is not None:
            if not self.trunk.built:
                self.trunk.build(input_shape)
            input_shape = self.trunk.compute_output_shape(input_shape)
        check_known_shape(self.name, input_shape, 2, "(batch, features)")
        self.linear.build(input_shape)
        self.sampler.build((input_shape[0], self.latent_dim))
        if not self.trainable:
            # `linear` has no configuration of its own in a file, which could say so.
            self.linear.trainable = False

    def distribution(self, inputs, training=None):
        """Returns mean, standard deviation > 0 and its logarithm, each float32 `(B, K)`."""
        if self.trunk is not None:
            inputs = self.trunk(inputs, training=training)
        outputs = self.linear(ops.cast(inputs, "float32"))
        # Not `ops.split`: LiteRT's converter may leave it in floats if only the mean is used.
        mean, raw_std = outputs[:, : self.latent_dim], outputs[:, self.latent_dim :] - 5.0
        return mean, ops.softplus(raw_std), _log_softplus(raw_std)

    def call(self, inputs, training=None, sample=None, return_distribution=False):
        check_floating(self.name, inputs)
        mean, std, log_std = self.distribution(inputs, training=training)
        kl = _kl(mean, std, log_std)
        charged = kl if self.kl_scale == "std" else _kl(mean, ops.exp(std), std)
        self.add_loss(loss_term(ops.cast(self.beta, "float32") * mean_or_zero(charged)))
        self.kl_nats.observe(mean_or_zero(kl), ops.shape(kl)[0])
        z = self.sampler(mean, std, training=training, sample=sample)
        if not return_distribution:
            return z
        return z, {"latent_mean": mean, "latent_std": std, "kl_nats": kl}

    def get_config(self):
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "beta": self.initial_beta,
            "kl_scale": self.kl_scale,
            "trunk": keras.saving.serialize_keras_object(self.trunk),
            "seed": self.seed,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["trunk"] = keras.saving.deserialize_keras_object(config["trunk"])
        return cls(**config)
