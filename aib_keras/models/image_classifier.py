"""What every image classifier of this library shares."""

import functools
import types

import keras
from keras import ops

from aib_keras.layers.tracking import collect_step_means
from aib_keras.models import image_checks
from aib_keras.models.through_predict import CheckedBatches, ThroughPredict
from aib_keras.utils import processes
from aib_keras.utils.checks import check_choice
from aib_keras.utils.suggestions import did_you_mean


class _CollectsStepMeans:
    """Mixin for a model whose `fit` shows the metrics of our layers on every backend."""

    def compute_loss(self, *args, **kwargs):
        collect_step_means(self)
        return super().compute_loss(*args, **kwargs)


@keras.saving.register_keras_serializable(package="aib_keras")
class TrackedModel(_CollectsStepMeans, keras.Model):
    """A `keras.Model` whose `fit` shows the metrics of our layers on every backend.

    Use it as you use `keras.Model`, for example `TrackedModel(inputs, outputs)`. On TensorFlow and
    torch every model shows these metrics. Keras's JAX trainer shows them in this one only.
    """

    def __new__(cls, *args, **kwargs):
        # Keras makes a model class that is called with inputs and outputs a functional one, in
        # place, and breaks subclasses of it that have a `call` of their own.
        if cls is TrackedModel and len(args) + len({"inputs", "outputs"} & kwargs.keys()) >= 2:
            cls = _tracked_functional(type(keras.Model(*args, **kwargs)))
        return super().__new__(cls, *args, **kwargs)


@functools.cache
def _tracked_functional(functional):
    """Returns the class of a `TrackedModel` of inputs and outputs, from Keras's class of such."""
    found = type("TrackedModel", (TrackedModel, functional), {"__module__": __name__})
    return keras.saving.register_keras_serializable(package="aib_keras")(found)


def _checks_images(method):
    """Wraps a method of `keras.Model` so that it checks the images before it starts."""

    @functools.wraps(method)
    def checked(self, x=None, *args, **kwargs):
        if image_checks.has_values(x):
            self._check_images(x, stacklevel=3)
        return method(self, x, *args, **kwargs)

    return checked


def _in_any_batch(method):
    """Wraps `evaluate` or `predict` so that batches need not divide evenly between JAX devices.

    Outside a distribution, every device computes the whole batches. `fit` shares its own
    evaluation batches between the devices, and is left alone.
    """

    @functools.wraps(method)
    def wrapped(self, *args, **kwargs):
        if kwargs.get("_use_cached_eval_dataset"):
            return method(self, *args, **kwargs)
        with processes.undistributed():
            return method(self, *args, **kwargs)

    return wrapped


# Not derived from TrackedModel: Keras turns the bases of a model class that is used functionally
# into functional ones, in place, and with them those of all its subclasses.
class ImageClassifier(_CollectsStepMeans, keras.Model):
    """Base class of image classifiers: images in, float32 logits out.

    A subclass implements `all_outputs`, lists its serialised parts in `part_names`, and its spatial
    maps, if it has any, in `map_names`.

    Args:
        preprocessing: Optional layer that is applied to the images first. With one, images are
            uint8 or float in [0, 255]. Without one, they are floats that are already normalised.
        features_layer: Optional name of the layer whose output are the features that explanations
            such as Grad-CAM look at. Defaults to the model's `feature_extractor`, if it has one.

    Call arguments:
        images: `(B, H, W, 3)`.
        training: Boolean.
        sample: Boolean, whether to draw from the model's distributions. None draws while training.
            Models without distributions ignore it.

    Call returns:
        Logits `(B, num_classes)`, float32.

    Raises:
        TypeError: if `preprocessing` is not a layer.
        ValueError: when called, if the images do not have the shape that the model was built for,
            or have NaN or infinity in them.
    """

    # The parts that get_config serialises.
    part_names = ("preprocessing",)
    # The spatial maps `(B, h, w, 1)` among the outputs of `all_outputs`.
    map_names = ()

    def __init__(self, preprocessing=None, features_layer=None, **kwargs):
        # Casting float images to half precision before they are normalised would round them.
        super().__init__(autocast=False, **kwargs)
        if not isinstance(preprocessing, (keras.layers.Layer, types.NoneType)):
            raise TypeError(
                f"`preprocessing` must be a Keras layer or None, got {preprocessing!r}. Layers are "
                "saved with the model; functions are not. For a `preprocess_input` of "
                "keras.applications that scales to [-1, 1], pass keras.layers.Rescaling(1 / 127.5, "
                "offset=-1)."
            )
        self.preprocessing = preprocessing
        # Parts that some subclasses have. Not attributes of the class, which would hide the parts
        # of an instance on the torch backend.
        self.feature_extractor = self.attention = self.encoder = None
        self.features_layer_name = features_layer
        # A namespace, so that Keras does not take the helper models in it for layers of this one.
        self._untracked = types.SimpleNamespace(
            range_warned=False, compiled=None, explainer=None, samplers={}, saliency={}
        )

    def quantize(self, *args, **kwargs):
        """Quantises the weights, as `keras.Model.quantize` does."""
        super().quantize(*args, **kwargs)
        self._drop_functions()

    def _drop_functions(self):
        self._untracked.explainer = None
        self._untracked.samplers.clear()
        self._untracked.saliency.clear()

    def _functions(self):
        """Returns the functions of `explain` and its like that are traced already.

        As Keras does with that of `predict`, those from before the last `compile` are dropped. A
        `compile` of one's own would be in the way of Keras when it loads a compiled model.
        """
        compiled = getattr(self, "_compile_config", None)
        if self._untracked.compiled is not compiled:
            self._untracked.compiled = compiled
            self._drop_functions()
        return self._untracked

    @property
    def quantizer(self):
        """The quantiser of the attention map, or None if there is none."""
        return getattr(self.attention, "quantizer", None)

    @property
    def features_layer(self):
        """The layer whose output are the features that explanations look at, or None."""
        if self.features_layer_name is None:
            return self.feature_extractor
        layers = self._flatten_layers(include_self=False)
        for layer in layers:
            if layer.name == self.features_layer_name:
                return layer
        raise ValueError(
            f"{self.name} has no layer {self.features_layer_name!r}, which `features_layer` names."
            f"{did_you_mean(self.features_layer_name, [layer.name for layer in layers])}"
        )

    def freeze(self, part):
        """Freezes a part of the model, with its batch norms. Compile the model afterwards.

        Args:
            part: `"features"`: all layers up to and including `features_layer`. `"backbone"`: these
                and the layers after them, up to the bottleneck or the classifier, which are the
                layers that ImageNet weights cover. `"batch_norm"`: only the batch norms of the
                backbone, which then keep their statistics in training, as is usual with few images.

        Raises:
            ValueError: For another `part`, or if the model has no such part.
        """
        check_choice("part", part, ("features", "backbone", "batch_norm"))
        if part == "batch_norm":
            self._freeze_batch_norm()
            return
        for layer in self.part_layers(part):
            layer.trainable = False

    def part_layers(self, part):
        """Returns the layers that `freeze` freezes, as a list.

        Args:
            part: `"features"` or `"backbone"`.

        Raises:
            ValueError: For another `part`, or if the model has no such part.
        """
        check_choice("part", part, ("features", "backbone"))
        trunk = self._trunk_layers() if part == "backbone" else []
        if self.feature_extractor is not None:
            return [self.feature_extractor, *trunk]
        return [*self._layers_up_to_the_features(), *trunk]

    def _freeze_batch_norm(self):
        parts = [self]
        if self.feature_extractor is not None:
            parts = [part for part in (self.feature_extractor, self._trunk) if part is not None]
        layers = [layer for part in parts for layer in part._flatten_layers()]
        norms = [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]
        if not norms:
            raise ValueError(f"{self.name} has no batch norm that could be frozen.")
        for norm in norms:
            norm.trainable = False

    @property
    def _trunk(self):
        """The layers between the attention and the bottleneck, or None."""
        return getattr(self.encoder, "trunk", None)

    def _trunk_layers(self):
        """Returns the layers of the backbone that follow the features."""
        if self._trunk is None:
            raise ValueError(
                f"{self.name} has no backbone apart from its classifier that could be frozen. "
                "Freeze its features, or set `trainable` of its layers."
            )
        return [self._trunk]

    def _layers_up_to_the_features(self):
        layer = self.features_layer
        graphs = [
            part
            for part in self._flatten_layers(include_self=False)
            if isinstance(part, keras.Model) and layer in part.layers
        ]
        if not graphs:
            raise ValueError(
                f"{self.name} has no layers before its features that could be frozen. Pass "
                "`features_layer` when you make the model, or set `trainable` of its layers."
            )
        return keras.Model(graphs[0].inputs, layer.output).layers

    def preprocess(self, images):
        """Returns images as the network takes them, in the compute dtype, `(B, H, W, 3)`."""
        if self.preprocessing is not None:
            images = self.preprocessing(images)
        return ops.cast(images, self.compute_dtype)

    def _preprocessed_shape(self, input_shape):
        """Returns the shape of the images as the network takes them, `(B, H, W, C)`."""
        if self.preprocessing is None:
            return input_shape
        if not self.preprocessing.built:
            self.preprocessing.build(input_shape)
        images = keras.KerasTensor(input_shape, self.compute_dtype)
        return tuple(self.preprocessing.compute_output_spec(images).shape)

    # Not `forward`: under that name PyTorch's modules have what Keras calls on the torch backend.
    def all_outputs(self, images, training=None, sample=None):
        """Computes all outputs of the model for a batch of images.

        Args:
            images: Tensor `(B, H, W, 3)`.
            training: Boolean.
            sample: Boolean, as in the call arguments.

        Returns:
            A dict of float32 tensors: `logits` `(B, num_classes)`, the maps in `map_names`, and
            what else the model knows about the images.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `all_outputs`.")

    def call(self, images, training=None, sample=None):
        return self.all_outputs(images, training=training, sample=sample)["logits"]

    def explain(self, images, batch_size=128):
        """Computes all outputs of the model for images, without sampling.

        Args:
            images: Array `(B, H, W, 3)`, as `model(images)` takes it, or batches of such: a
                `keras.utils.PyDataset` of images, or of images and labels.
            batch_size: Integer, number of images per forward pass. Batches keep their own size.

        Returns:
            A dict of float32 NumPy arrays. It has those of the following that the model computes:

            - `logits`: `(B, num_classes)`.
            - `attention`: `(B, h, w, 1)`, the spatial map. The map of IB attention is in (0, 1).
            - `attention_std`: `(B, h, w, 1)`, the standard deviation of the map.
            - `attention_quantized`: `(B, h, w, 1)`, the map after quantisation.
            - `attention_nats`: `(B, h, w, 1)`, the information that passes at each position in
              nats, with `modulation="noise"`.
            - `latent_mean`, `latent_std`: `(B, K)`, the distribution of the latent z.
            - `kl_nats`: `(B,)`, the KL divergence of p(z|x) from the prior in nats. Its mean over
              images is an upper bound on the information that z carries about an image.

        Raises:
            TypeError: for anything else, such as a tuple of images and labels.
            ValueError: if there are no images, they do not have the shape that the model was built
                for, or they have NaN or infinity in them.
        """
        if isinstance(images, keras.utils.PyDataset):
            images = CheckedBatches(images, self._as_batch)
        else:
            images = self._as_batch(images)
        functions = self._functions()
        if functions.explainer is None:
            functions.explainer = _Explainer(self, name="explainer")
        return functions.explainer.run(images, batch_size)

    def _as_batch(self, images):
        images = image_checks.as_array(images)
        if images.ndim == 4 and not self.built:
            self.build((None, *images.shape[1:]))
        if len(images) == 0:
            raise ValueError(f"{self.name} needs at least one image, got shape {images.shape}.")
        # Warns where the caller of `explain` or `predict_mc` is.
        self._check_images(images, stacklevel=3)
        return images

    def _check_images(self, images, stacklevel):
        """Checks the shape of images, and their values if they have any.

        Args:
            images: Array or tensor.
            stacklevel: Integer, of the warning: 1 is this function.

        Raises:
            ValueError: if the model takes no images of this shape, or they have NaN or infinity.
        """
        if self.built:
            expected = self.get_build_config()["input_shape"]
        else:
            expected = (None, None, None, None)
        image_checks.check_shape(self.name, images, expected)
        if image_checks.has_values(images):
            image_checks.check_finite(self.name, images)
            if self.preprocessing is not None and not self._untracked.range_warned:
                self._untracked.range_warned = image_checks.warn_of_range(
                    self.name, images, stacklevel + 1
                )

    def __call__(self, images, *args, **kwargs):
        if hasattr(images, "shape") and hasattr(images, "dtype"):
            self._check_images(images, stacklevel=2)
        return super().__call__(images, *args, **kwargs)

    # Inside their compiled functions images have a shape but no values.
    fit = _checks_images(keras.Model.fit)
    evaluate = _checks_images(_in_any_batch(keras.Model.evaluate))
    predict = _checks_images(_in_any_batch(keras.Model.predict))

    def get_config(self):
        parts = {name: getattr(self, name) for name in self.part_names}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), "features_layer": self.features_layer_name, **config}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in cls.part_names:
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


class _Explainer(ThroughPredict):
    """Computes what `explain` returns."""

    def call(self, images):
        return self.classifier.all_outputs(images, training=False, sample=False)
