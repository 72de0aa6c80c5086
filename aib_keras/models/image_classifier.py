"""What every image classifier of the zoo shares, and the plain ones."""

import types
import warnings

import keras
import numpy as np
from keras import ops

from aib_keras.layers.tracking import collect_step_means
from aib_keras.models.through_predict import ThroughPredict


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
            self._untracked.explainer = _Explainer(self, name="explainer")
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
class MapClassifier(PlainClassifier):
    """A backbone that gives logits and spatial maps, with the interface of the zoo's models.

    Args:
        backbone: Model from normalised images `(B, H, W, 3)` to a dict with `logits`
            `(B, num_classes)`, `attention` `(B, h, w, 1)`, and whatever else `explain` shall
            return.
        preprocessing: As in `ImageClassifier`.
    """

    map_names = ("attention",)

    def call(self, images, training=None):
        outputs = self.backbone(self.preprocess(images), training=training)
        return ops.cast(outputs["logits"], "float32")

    def explanation(self, images):
        """Tensors that explain the deterministic prediction, as the backbone names them."""
        outputs = self.backbone(self.preprocess(images), training=False)
        return {name: ops.cast(value, "float32") for name, value in outputs.items()}


class _Explainer(ThroughPredict):
    """Runs `classifier.explanation`."""

    def call(self, images):
        return self.classifier.explanation(images)


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
