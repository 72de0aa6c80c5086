"""A classifier with a variational information bottleneck (Alemi et al., ICLR 2017)."""

import keras
from keras import ops

from aib_keras.layers.sampling import should_sample
from aib_keras.models.image_classifier import ImageClassifier
from aib_keras.models.through_predict import CheckedBatches, ThroughPredict
from aib_keras.utils import processes
from aib_keras.utils.checks import check_boolean, check_integer, check_seed


@keras.saving.register_keras_serializable(package="aib_keras")
class VariationalClassifier(ImageClassifier):
    """A classifier with a variational information bottleneck, without attention.

        z = encoder(images)          sampled from p(z|x)
        logits = decoder(z)          q(y|z)

    The encoder adds its term of the loss with `add_loss` and reports it as a metric. `compile`
    needs only a cross-entropy over logits.

    Source: Alemi et al., Deep Variational Information Bottleneck, ICLR 2017.

    Args:
        encoder: `VariationalEncoder`, usually with a trunk.
        decoder: Layer or model from z `(B, K)` to logits `(B, num_classes)`.
        preprocessing: As in `ImageClassifier`.
        stochastic: Boolean. False trains without sampling: the noise is off unless `sample=True`.
        **kwargs: `features_layer`, as in `ImageClassifier`, and arguments of `keras.Model`.

    The call arguments, returns and errors are those of `ImageClassifier`.
    """

    part_names = ("preprocessing", "encoder", "decoder")

    def __init__(self, encoder, decoder, preprocessing=None, stochastic=True, **kwargs):
        super().__init__(preprocessing=preprocessing, **kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.stochastic = check_boolean("stochastic", stochastic)

    def build(self, input_shape):
        self._build_latent(self._preprocessed_shape(input_shape))

    def _build_latent(self, input_shape):
        if not self.encoder.built:
            self.encoder.build(input_shape)
        if not self.decoder.built:
            self.decoder.build((input_shape[0], self.encoder.latent_dim))

    def all_outputs(self, images, training=None, sample=None):
        sample = should_sample(training and self.stochastic, sample)
        inputs, maps = self._encoder_inputs(images, training, sample)
        z, latent = self.encoder(inputs, training=training, sample=sample, return_distribution=True)
        logits = ops.cast(self.decoder(z, training=training), "float32")
        return {"logits": logits, **maps, **latent}

    def _encoder_inputs(self, images, training, sample):
        """Returns what the encoder reads, and a dict of the maps computed on the way there."""
        del training, sample
        return self.preprocess(images), {}

    def _sampled_encoder_inputs(self, images, samples, draw):
        """Yields what the encoder reads, once for each sample of all that comes before it."""
        del samples, draw
        yield self.preprocess(images)

    def sampled_logits(self, images, samples, seed):
        """Returns the logits of single predictions, each from one draw, for a batch of images.

        `predict_mc` averages them.

        Args:
            images: Tensor `(B, H, W, 3)`.
            samples: Integer, at least 1, as in `predict_mc`.
            seed: `keras.random.SeedGenerator` for the draws.

        Returns:
            A float32 tensor `(P, B, num_classes)`. P is `samples**2` with attention and `samples`
            without.
        """

        def draw(mean, std, count):
            """Samples along a new first axis."""
            shape = (count, *ops.shape(mean))
            return mean + keras.random.normal(shape, dtype="float32", seed=seed) * std

        found = []
        for inputs in self._sampled_encoder_inputs(images, samples, draw):
            latent_mean, latent_std, _ = self.encoder.distribution(inputs, training=False)
            z = draw(latent_mean, latent_std, samples)
            logits = self.decoder(ops.reshape(z, (-1, z.shape[-1])), training=False)
            logits = ops.reshape(logits, (samples, -1, logits.shape[-1]))
            found.append(ops.cast(logits, "float32"))
        return ops.concatenate(found)

    def predict_mc(self, images, samples=4, seed=0, batch_size=128):
        """Predicts by averaging over samples, as the paper's authors do.

        Draws `samples` maps (and, with `modulation="noise"`, as many times the noise of the
        features) if the model has attention, draws `samples` latents for each map, and
        averages the logits of all predictions: `samples**2` of them with attention, `samples`
        without. The same `seed` and `batch_size` always give the same result. The random state of
        training does not change.

        `aib_keras.training.recalibrate` fits a model to the deterministic prediction: afterwards
        this one is less accurate.

        Args:
            images: Array `(B, H, W, 3)` or batches, as `explain` takes them.
            samples: Integer, at least 1. The authors draw 4 on CIFAR and SVHN and 12 on CUB.
            seed: Integer in [0, 2**32 - 1].
            batch_size: Integer, number of images per forward pass.

        Returns:
            A dict of float32 NumPy arrays `(B, num_classes)`: `logits`, averaged;
            `probabilities`, their softmax; `probabilities_std`, the standard deviation of the
            single predictions' probabilities.

        Raises:
            TypeError: as `explain` raises it.
            ValueError: if an argument is out of its range, or as `explain` raises it.
        """
        samples = check_integer("samples", samples, minimum=1)
        seed = check_seed("seed", seed)
        if isinstance(images, keras.utils.PyDataset):
            images = CheckedBatches(images, self._as_batch)
        else:
            images = self._as_batch(images)
        samplers = self._functions().samplers
        if samples not in samplers:
            # Its noise belongs to this process, which may be one of several.
            with processes.undistributed():
                samplers[samples] = _MonteCarlo(self, samples)
        sampler = samplers[samples]
        sampler.seed_generator.state.assign([seed, 0])
        return sampler.run(images, batch_size)

    def get_config(self):
        return {**super().get_config(), "stochastic": self.stochastic}


class _MonteCarlo(ThroughPredict):
    """Computes what `predict_mc` returns."""

    def __init__(self, classifier, samples):
        super().__init__(classifier, name="monte_carlo")
        self.samples = samples
        # `predict_mc` sets its state before each use.
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, images):
        all_logits = self.classifier.sampled_logits(images, self.samples, self.seed_generator)
        logits = ops.mean(all_logits, axis=0)
        return {
            "logits": logits,
            "probabilities": ops.softmax(logits),
            "probabilities_std": ops.std(ops.softmax(all_logits), axis=0),
        }
