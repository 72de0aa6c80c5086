"""Image classifiers: what every zoo model shares, and the paper's Fig. 2."""

import types
import warnings

import keras
import numpy as np
from keras import ops

from aib_keras.layers.sampling import should_sample
from aib_keras.layers.tracking import collect_step_means


class _CollectsStepMeans:
    """Mixin for a model whose `fit` shows the metrics of our layers on every backend."""

    def compute_loss(self, *args, **kwargs):
        collect_step_means(self)
        return super().compute_loss(*args, **kwargs)


@keras.saving.register_keras_serializable(package="aib_keras")
class TrackedModel(_CollectsStepMeans, keras.Model):
    """A `keras.Model` whose `fit` shows the metrics of our layers on every backend.

    Used as `keras.Model` is, for example `TrackedModel(inputs, outputs)`. On TensorFlow and torch
    any model shows them; Keras's JAX trainer needs this one.
    """


# Not derived from TrackedModel: Keras turns the bases of a model class that is used functionally
# into functional ones, in place, and with them those of all its subclasses.
class ImageClassifier(_CollectsStepMeans, keras.Model):
    """Base of the zoo's models: images in, float32 logits out.

    Args:
        preprocessing: Optional layer applied to the images first. With one, images are uint8 or
            float in [0, 255]; without, they are already normalised floats.

    Call arguments:
        images: `(B, H, W, 3)`.
        training: Boolean.

    Returns:
        Logits `(B, num_classes)`, float32.
    """

    # The parts that get_config serialises; subclasses name theirs.
    part_names = ("preprocessing",)
    # What `explain` returns beside the logits, or an empty tuple for a model without a map.
    map_names = ()

    def __init__(self, preprocessing=None, **kwargs):
        # Casting float images to half precision before they are normalised would round them.
        super().__init__(autocast=False, **kwargs)
        self.preprocessing = preprocessing
        # A namespace, so that Keras does not take the helper models in it for layers of this one.
        self._untracked = types.SimpleNamespace(range_warned=False, explainer=None, samplers={})

    def preprocess(self, images):
        """Images as the network takes them, in the compute dtype, `(B, H, W, 3)`."""
        if self.preprocessing is not None:
            images = self.preprocessing(images)
        return ops.cast(images, self.compute_dtype)

    def explanation(self, images):
        """Tensors that explain the deterministic prediction: a dict with at least `logits`."""
        raise ValueError(
            f"{self.name} has no spatial attention map. `explain` works for models that have one, "
            "such as zoo.vgg_aib_qt."
        )

    def explain(self, images, batch_size=128):
        """What the model sees in images, without sampling.

        Args:
            images: Array `(B, H, W, 3)`, as `model(images)` takes it.
            batch_size: Integer, images in a forward pass.

        Returns:
            A dict of float32 numpy arrays: `logits` `(B, num_classes)` and the model's maps.

        Raises:
            ValueError: if the model has no spatial map.
        """
        if not self.map_names:
            self.explanation(images)
        images = self._as_batch(images)
        if self._untracked.explainer is None:
            self._untracked.explainer = _Explainer(self)
        return self._untracked.explainer.predict(images, batch_size=batch_size, verbose=0)

    def _as_batch(self, images):
        images = ops.convert_to_numpy(images)
        if images.ndim != 4:
            raise ValueError(
                f"{self.name} needs a batch of images (B, H, W, 3), got shape {images.shape}. "
                "Add the batch axis to a single image with images[None]."
            )
        if len(images) == 0:
            raise ValueError(f"{self.name} got an empty batch of images, shape {images.shape}.")
        # Warns where the caller of `explain` or `predict_mc` is.
        self._check_range(images, stacklevel=5)
        if not self.built:
            self.build((None, *images.shape[1:]))
        return images

    def _check_range(self, images, stacklevel=3):
        """Warns once if images that should be in [0, 255] look like [0, 1]."""
        if self._untracked.range_warned or self.preprocessing is None:
            return
        if not hasattr(images, "dtype") or _is_symbolic(images):
            return
        if "float" in keras.backend.standardize_dtype(images.dtype):
            values = ops.convert_to_numpy(images[:16])
            low, high = float(np.min(values, initial=0)), float(np.max(values, initial=0))
            if 0 < high <= 1.0 or low < 0:
                warnings.warn(
                    f"{self.name} takes images in [0, 255] and got values in [{low:.3g}, "
                    f"{high:.3g}]. Multiply images in [0, 1] by 255; for images that are "
                    "normalised already build the model with include_preprocessing=False.",
                    stacklevel=stacklevel,
                )
                self._untracked.range_warned = True

    def __call__(self, images, *args, **kwargs):
        self._check_range(images)
        return super().__call__(images, *args, **kwargs)

    def fit(self, x=None, *args, **kwargs):
        self._check_range(x)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        self._check_range(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        self._check_range(x)
        return super().predict(x, *args, **kwargs)

    def get_config(self):
        parts = {name: getattr(self, name) for name in self.part_names}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in cls.part_names:
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


@keras.saving.register_keras_serializable(package="aib_keras")
class PlainClassifier(ImageClassifier):
    """A backbone from images to logits, with the interface of the zoo's models and no map.

    Args:
        backbone: Model or layer from normalised images `(B, H, W, 3)` to logits.
        preprocessing: As in `ImageClassifier`.
    """

    part_names = ("preprocessing", "backbone")

    def __init__(self, backbone, preprocessing=None, **kwargs):
        super().__init__(preprocessing=preprocessing, **kwargs)
        self.backbone = backbone

    def build(self, input_shape):
        if not self.backbone.built:
            self.backbone.build(input_shape)

    def call(self, images, training=None):
        return ops.cast(self.backbone(self.preprocess(images), training=training), "float32")


@keras.saving.register_keras_serializable(package="aib_keras")
class AIBClassifier(ImageClassifier):
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
        encoder: `VariationalEncoder`, usually with a trunk.
        decoder: Layer or model from z `(B, K)` to logits `(B, num_classes)`.
        preprocessing: As in `ImageClassifier`.
        stochastic: Boolean. False trains without sampling: the noise is off unless `sample=True`.

    Call arguments:
        images: `(B, H, W, 3)`: uint8 or float in [0, 255] with preprocessing, else normalised.
        training: Boolean.
        sample: Boolean: draw a and z, or take their means. None draws while training.

    Returns:
        Logits `(B, num_classes)`, float32.
    """

    part_names = ("preprocessing", "feature_extractor", "attention", "encoder", "decoder")
    map_names = ("attention",)

    def __init__(
        self,
        feature_extractor,
        attention,
        encoder,
        decoder,
        preprocessing=None,
        stochastic=True,
        **kwargs,
    ):
        super().__init__(preprocessing=preprocessing, **kwargs)
        self.feature_extractor = feature_extractor
        self.attention = attention
        self.encoder = encoder
        self.decoder = decoder
        self.stochastic = bool(stochastic)

    def build(self, input_shape):
        if not self.feature_extractor.built:
            self.feature_extractor.build(input_shape)
        features_shape = self.feature_extractor.compute_output_shape(input_shape)
        for part, shape in (
            (self.attention, features_shape),
            (self.encoder, features_shape),
            (self.decoder, (input_shape[0], self.encoder.latent_dim)),
        ):
            if not part.built:
                part.build(shape)

    def call(self, images, training=None, sample=None):
        return self._forward(images, training, sample)["logits"]

    def _forward(self, images, training=None, sample=None):
        sample = should_sample(training and self.stochastic, sample)
        features = self.feature_extractor(self.preprocess(images), training=training)
        modulated, maps = self.attention(
            features, training=training, sample=sample, return_attention=True
        )
        z, latent = self.encoder(
            modulated, training=training, sample=sample, return_distribution=True
        )
        logits = ops.cast(self.decoder(z, training=training), "float32")
        return {"logits": logits, **maps, **latent}

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

    def predict_mc(self, images, samples=4, seed=0, batch_size=128):
        """Averages over samples of the map and of the latent, as the paper's authors predict.

        Draws `samples` maps and for each map `samples` latents, and averages the logits of all
        samples * samples predictions. Repeatable from `seed` for one `batch_size`; the noise of
        training is not touched.

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
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise ValueError(f"`samples` must be an integer of at least 1, got {samples!r}.")
        images = self._as_batch(images)
        if samples not in self._untracked.samplers:
            self._untracked.samplers[samples] = _MonteCarlo(self, samples)
        sampler = self._untracked.samplers[samples]
        sampler.seed_generator.state.assign([seed, 0])
        return sampler.predict(images, batch_size=batch_size, verbose=0)

    def get_config(self):
        return {**super().get_config(), "stochastic": self.stochastic}


class _Explainer(keras.Model):
    """Runs `classifier.explanation` through `predict`: in batches, compiled, on any backend."""

    def __init__(self, classifier):
        super().__init__(autocast=False, name="explainer")
        self.classifier = classifier

    def build(self, input_shape):
        pass

    def call(self, images):
        return self.classifier.explanation(images)


class _MonteCarlo(keras.Model):
    """Runs `AIBClassifier.predict_mc` through `predict`."""

    def __init__(self, classifier, samples):
        super().__init__(autocast=False, name="monte_carlo")
        self.classifier = classifier
        self.samples = samples
        # `predict_mc` sets its state before each use.
        self.seed_generator = keras.random.SeedGenerator(0)

    def build(self, input_shape):
        pass

    def _draw(self, mean, std, samples):
        """Samples along a new first axis."""
        shape = (samples, *ops.shape(mean))
        noise = keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
        return mean + noise * std

    def call(self, images):
        model = self.classifier
        features = model.feature_extractor(model.preprocess(images), training=False)
        mean, std = model.attention.distribution(features, training=False)
        all_logits = []
        # One map after the other, for the encoder's activations of all at once may not fit.
        for _ in range(self.samples):
            attention = self._draw(mean, std, 1)[0]
            modulated, _ = model.attention.modulate(features, attention)
            latent_mean, latent_std, _ = model.encoder.distribution(modulated, training=False)
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


def _is_symbolic(tensor):
    """Whether a tensor has no values yet: a KerasTensor, or one inside a compiled function."""
    if isinstance(tensor, np.ndarray):
        return False
    if isinstance(tensor, keras.KerasTensor) or not keras.ops.is_tensor(tensor):
        return True
    if keras.backend.backend() == "tensorflow":
        return not hasattr(tensor, "numpy")
    if keras.backend.backend() == "jax":
        import jax

        return isinstance(tensor, jax.core.Tracer)
    return False
