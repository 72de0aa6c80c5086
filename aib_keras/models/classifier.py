"""Classifiers with a variational bottleneck: the paper's Fig. 2, and the same without a map."""

import keras
from keras import ops

from aib_keras.layers.sampling import should_sample
from aib_keras.models.image_classifier import ImageClassifier
from aib_keras.models.through_predict import ThroughPredict
from aib_keras.utils.checks import check_integer


@keras.saving.register_keras_serializable(package="aib_keras")
class VariationalClassifier(ImageClassifier):
    """A classifier with a variational information bottleneck, without attention.

        z = encoder(images)          sampled from p(z|x)
        logits = decoder(z)          q(y|z)

    The encoder adds its term of the loss with `add_loss` and reports it as a metric, so that
    `compile` needs just a cross-entropy over logits.

    Source: Alemi et al., Deep Variational Information Bottleneck, ICLR 2017.

    Args:
        encoder: `VariationalEncoder`, usually with a trunk.
        decoder: Layer or model from z `(B, K)` to logits `(B, num_classes)`.
        preprocessing: As in `ImageClassifier`.
        stochastic: Boolean. False trains without sampling: the noise is off unless `sample=True`.

    Call arguments:
        images: `(B, H, W, 3)`: uint8 or float in [0, 255] with preprocessing, else normalised.
        training: Boolean.
        sample: Boolean: draw from the distributions, or take their means. None draws while
            training.

    Returns:
        Logits `(B, num_classes)`, float32.
    """

    part_names = ("preprocessing", "encoder", "decoder")

    def __init__(self, encoder, decoder, preprocessing=None, stochastic=True, **kwargs):
        super().__init__(preprocessing=preprocessing, **kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.stochastic = bool(stochastic)
        self._untracked.informer = None

    def build(self, input_shape):
        if not self.encoder.built:
            self.encoder.build(input_shape)
        if not self.decoder.built:
            self.decoder.build((input_shape[0], self.encoder.latent_dim))

    def call(self, images, training=None, sample=None):
        return self._forward(images, training, sample)["logits"]

    def _forward(self, images, training=None, sample=None):
        sample = should_sample(training and self.stochastic, sample)
        inputs, maps = self._encoder_inputs(images, training, sample)
        z, latent = self.encoder(inputs, training=training, sample=sample, return_distribution=True)
        logits = ops.cast(self.decoder(z, training=training), "float32")
        return {"logits": logits, **maps, **latent}

    def _encoder_inputs(self, images, training, sample):
        """What the encoder sees, and the maps on the way there by name."""
        del training, sample
        return self.preprocess(images), {}

    def _sampled_encoder_inputs(self, images, samples, draw):
        """Yields what the encoder sees, once for each sample of all that comes before it."""
        del samples, draw
        yield self.preprocess(images)

    def predict_mc(self, images, samples=4, seed=0, batch_size=128):
        """Averages over samples, as the paper's authors predict.

        Draws `samples` maps, if there is attention, and for each map `samples` latents, and
        averages the logits of all predictions: samples * samples with attention, else `samples`.
        Repeatable from `seed` for one `batch_size`; the noise of training is not touched.

        Args:
            images: Array `(B, H, W, 3)`, as `model(images)` takes it.
            samples: Integer, at least 1. The authors: 4 on CIFAR and SVHN, 12 on CUB.
            seed: Integer.
            batch_size: Integer, images in a forward pass.

        Returns:
            A dict of float32 numpy arrays `(B, num_classes)`: `logits`, averaged;
            `probabilities`, their softmax; `probabilities_std`, the standard deviation of the
            single predictions' probabilities.
        """
        samples = check_integer("samples", samples, minimum=1)
        images = self._as_batch(images)
        if samples not in self._untracked.samplers:
            self._untracked.samplers[samples] = _MonteCarlo(self, samples)
        sampler = self._untracked.samplers[samples]
        sampler.seed_generator.state.assign([seed, 0])
        return sampler.predict(images, batch_size=batch_size, verbose=0)

    def information(self, images, batch_size=128):
        """How much z carries about each image, without sampling.

        Args:
            images: Array `(B, H, W, 3)`, as `model(images)` takes it.
            batch_size: Integer, images in a forward pass.

        Returns:
            A dict of float32 numpy arrays: `logits` `(B, num_classes)`, and `kl_nats` `(B,)`, the
            KL of p(z|x) to the prior, in nats.
        """
        images = self._as_batch(images)
        if self._untracked.informer is None:
            self._untracked.informer = _Informer(self, name="informer")
        return self._untracked.informer.predict(images, batch_size=batch_size, verbose=0)

    def get_config(self):
        return {**super().get_config(), "stochastic": self.stochastic}


@keras.saving.register_keras_serializable(package="aib_keras")
class AIBClassifier(VariationalClassifier):
    """A classifier with an attentive information bottleneck: Fig. 2 of the paper, part by part.

        f = feature_extractor(images)
        h = attention(f)             modulated features, the map sampled from p(a|x)
        z = encoder(h)               sampled from p(z|x, a)
        logits = decoder(z)          q(y|z)

    Each part is a layer or model of its own and can be replaced. `attention` and `encoder` add
    their terms of Eq. 10 with `add_loss` and report them as metrics, so that `compile` needs just
    a cross-entropy over logits.

    Source: Lai et al., IJCAI 2021, Fig. 2 and Eq. 10.

    Args:
        feature_extractor: Model from normalised images to features `(B, H, W, C)`.
        attention: `IBAttention`.
        encoder, decoder, preprocessing, stochastic: As in `VariationalClassifier`; the encoder
            takes the modulated features.

    Call arguments and what is returned are those of `VariationalClassifier`.
    """

    part_names = ("preprocessing", "feature_extractor", "attention", "encoder", "decoder")
    map_names = ("attention",)

    def __init__(self, feature_extractor, attention, encoder, decoder, **kwargs):
        super().__init__(encoder=encoder, decoder=decoder, **kwargs)
        self.feature_extractor = feature_extractor
        self.attention = attention

    def build(self, input_shape):
        if not self.feature_extractor.built:
            self.feature_extractor.build(input_shape)
        features_shape = self.feature_extractor.compute_output_shape(input_shape)
        if not self.attention.built:
            self.attention.build(features_shape)
        super().build(features_shape)

    def _encoder_inputs(self, images, training, sample):
        features = self.feature_extractor(self.preprocess(images), training=training)
        return self.attention(features, training=training, sample=sample, return_attention=True)

    def _sampled_encoder_inputs(self, images, samples, draw):
        features = self.feature_extractor(self.preprocess(images), training=False)
        mean, std = self.attention.distribution(features, training=False)
        # One map after the other, for the encoder's activations of all at once may not fit.
        for _ in range(samples):
            modulated, _ = self.attention.modulate(features, draw(mean, std, 1)[0])
            yield modulated

    def explanation(self, images):
        """Tensors that explain the deterministic prediction, as `explain` names them."""
        outputs = self._forward(images, training=False, sample=False)
        # Without sampling the map is its mean: one name for it is enough.
        del outputs["attention_mean"]
        return outputs

    def explain(self, images, batch_size=128):
        """What the model sees in images, without sampling.

        Args:
            images: Array `(B, H, W, 3)`, as `model(images)` takes it.
            batch_size: Integer, images in a forward pass.

        Returns:
            A dict of float32 numpy arrays: `logits` `(B, num_classes)`; `attention` in (0, 1) and
            `attention_std`, `(B, h, w, 1)`; with a quantiser `attention_quantized` of that shape;
            `latent_mean` and `latent_std`, `(B, K)`; `kl_nats` `(B,)`, the information about the
            image that z carries, as bounded by the KL to the prior, in nats.
        """
        return super().explain(images, batch_size=batch_size)


class _Informer(ThroughPredict):
    """Gives what `information` returns."""

    def call(self, images):
        outputs = self.classifier._forward(images, training=False, sample=False)
        return {name: outputs[name] for name in ("logits", "kl_nats")}


class _MonteCarlo(ThroughPredict):
    """Gives what `predict_mc` returns."""

    def __init__(self, classifier, samples):
        super().__init__(classifier, name="monte_carlo")
        self.samples = samples
        # `predict_mc` sets its state before each use.
        self.seed_generator = keras.random.SeedGenerator(0)

    def _draw(self, mean, std, samples):
        """Samples along a new first axis."""
        shape = (samples, *ops.shape(mean))
        noise = keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
        return mean + noise * std

    def call(self, images):
        model = self.classifier
        all_logits = []
        for inputs in model._sampled_encoder_inputs(images, self.samples, self._draw):
            latent_mean, latent_std, _ = model.encoder.distribution(inputs, training=False)
            z = self._draw(latent_mean, latent_std, self.samples)
            logits = model.decoder(ops.reshape(z, (-1, z.shape[-1])), training=False)
            logits = ops.reshape(logits, (self.samples, -1, logits.shape[-1]))
            all_logits.append(ops.cast(logits, "float32"))
        all_logits = ops.concatenate(all_logits)
        logits = ops.mean(all_logits, axis=0)
        return {
            "logits": logits,
            "probabilities": ops.softmax(logits),
            "probabilities_std": ops.std(ops.softmax(all_logits), axis=0),
        }
