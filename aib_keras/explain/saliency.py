"""Maps of where a classifier looks that need no attention in it, to compare attention with."""

import contextlib
import difflib

import keras
import numpy as np
from keras import ops

from aib_keras.explain.gradients import gradient
from aib_keras.models import ImageClassifier
from aib_keras.models.through_predict import ThroughPredict

# Where the zoo's networks without a `feature_extractor` have the features that IB attention would
# be put on: the output of a layer, or what a layer reads. The first that a network has counts.
_PLACES = (
    ("block5_conv3", "output"),  # vgg16
    ("layer3_block6_relu", "output"),  # wrn50_2
    ("group_block1_bn1", "input"),  # wrn_abn, before its modulation
    ("group3_block1_bn1", "input"),  # wrn
    ("block1_pool", "output"),  # vgg, vgg_dvib, vgg_pan, vgg_att2, vgg_att3
)


def grad_cam(model, images, layer=None, batch_size=64):
    """Grad-CAM maps of the predicted class, without sampling.

    A channel's weight is the mean over its positions of the gradient of the predicted class's
    logit, and the map is ReLU(the weighted sum of the channels). By default the features are those
    at the place of the IB attention, before any modulation, so that the maps have its resolution:
    the output of `feature_extractor` where the model has one, and in the zoo's other models the
    same depth (VGG: after the first pooling; WRN: after group 2; VGG-16: the last convolution;
    Wide-ResNet-50-2: after layer 3). What reaches the logits past these features, as the first map
    of `vgg_att3` does, counts as constant.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2. They take the last convolution,
    which `layer` can name. Written here because the libraries that have it (tf-keras-vis 0.8.7,
    xplique 2.0.2) need a functional model and TensorFlow.

    Args:
        model: `ImageClassifier`, such as any model of the zoo.
        images: Array `(N, H, W, 3)`, as `model(images)` takes it.
        layer: Optional layer, or its name, whose output, a map, is taken as the features.
        batch_size: Integer, images in a forward pass.

    Returns:
        float32 `(N, h, w, 1)`, at least 0, in logits per position.

    Raises:
        TypeError: if the model is no `ImageClassifier`.
        ValueError: if the layer is not there or its output is no map `(B, h, w, C)`, or if none is
            named and the model has no feature extractor and is not of the zoo.
    """
    _check(model)
    tapped = _place(model) if layer is None else _named(model, layer)
    return _predict(_GradCAM(model, tapped), model, images, batch_size)


def gradient_map(model, images, map_shape=None, batch_size=64):
    """How much each pixel changes the predicted class's logit, without sampling.

    The absolute gradient of the logit, the largest of a pixel's channels.

    Source: Simonyan et al., Deep Inside Convolutional Networks, 2014, section 3.1.

    Args:
        model: `ImageClassifier`, such as any model of the zoo.
        images: Array `(N, H, W, 3)`, as `model(images)` takes it.
        map_shape: Optional (height, width) of a coarser map, whose cells are means over their
            pixels.
        batch_size: Integer, images in a forward pass.

    Returns:
        float32 `(N, H, W, 1)`, or of `map_shape`; at least 0, in logits per unit of the images.

    Raises:
        TypeError: if the model is no `ImageClassifier`.
    """
    _check(model)
    return _predict(_GradientMap(model, map_shape), model, images, batch_size)


def uniform_map(shape):
    """A map that is the same everywhere, float32: looking nowhere in particular.

    Args:
        shape: Shape `(N, h, w, 1)` of the maps that it is compared with.
    """
    return np.ones(shape, np.float32)


def gaussian_map(shape, sigma=0.25):
    """A normal density around the image's centre, up to a factor: looking where objects mostly are.

    Args:
        shape: Shape `(N, h, w, 1)` of the maps that it is compared with.
        sigma: Standard deviation, as a share of the map's height and of its width.

    Returns:
        float32 of that shape, in (0, 1].
    """
    height, width = shape[1:3]
    y = ((np.arange(height) + 0.5) / height - 0.5) / sigma
    x = ((np.arange(width) + 0.5) / width - 0.5) / sigma
    one = np.exp(-0.5 * (y[:, None] ** 2 + x**2)).astype(np.float32)
    return np.tile(one[None, :, :, None], (shape[0], 1, 1, 1))


class _Saliency(ThroughPredict):
    """Gives maps of what moves the score of the predicted class."""

    def score(self, images):
        """Sum of the predicted classes' logits: its gradient by one image is that image's."""
        return ops.sum(ops.max(self.classifier(images, training=False), axis=-1))


class _GradientMap(_Saliency):
    def __init__(self, classifier, map_shape):
        super().__init__(classifier, name="saliency")
        self.pooling = None
        if map_shape is not None:
            self.pooling = keras.layers.AdaptiveAveragePooling2D(
                tuple(map_shape), data_format="channels_last"
            )

    def call(self, images):
        found = gradient(self.score, ops.cast(images, "float32"))
        found = ops.max(ops.abs(found), axis=-1, keepdims=True)
        return found if self.pooling is None else self.pooling(found)


class _GradCAM(_Saliency):
    def __init__(self, classifier, tapped):
        super().__init__(classifier, name="saliency")
        self.tapped = tapped

    def call(self, images):
        with _output_of(self.tapped) as seen:
            self.classifier(images, training=False)
        if len(seen) != 1 or len(seen[0].shape) != 4:
            shapes = [tuple(each.shape) for each in seen]
            raise ValueError(
                f"Grad-CAM needs a layer that runs once and gives a map (B, h, w, C); in "
                f"{self.classifier.name} {self.tapped.name!r} gave {shapes}. Name another `layer`."
            )
        features = seen[0]

        def score(features):
            with _output_of(self.tapped, replaced_by=features):
                return self.score(images)

        weights = ops.mean(gradient(score, features), axis=(1, 2), keepdims=True)
        products = ops.cast(features, "float32") * ops.cast(weights, "float32")
        return ops.relu(ops.sum(products, axis=-1, keepdims=True))


@contextlib.contextmanager
def _output_of(layer, replaced_by=None):
    """Inside, lists what the layer gives, or has it give something else.

    So the features can be cut out of any model, subclassed ones too, on every backend: JAX has no
    gradient by a value inside a function.
    """
    original, seen = layer.call, []

    def call(*args, **kwargs):
        if replaced_by is not None:
            return replaced_by
        seen.append(original(*args, **kwargs))
        return seen[-1]

    layer.call = call
    try:
        yield seen
    finally:
        # The method of the class is there again.
        del layer.call


def _check(model):
    if not isinstance(model, ImageClassifier):
        raise TypeError(
            f"Expected an aib_keras.models.ImageClassifier, got {type(model).__name__}. A model "
            "from images to logits becomes one as aib_keras.models.PlainClassifier(model)."
        )


def _predict(runner, model, images, batch_size):
    return runner.predict(model._as_batch(images), batch_size=batch_size, verbose=0)


def _place(model):
    """The layer whose output has the features at the place of IB attention."""
    if hasattr(model, "feature_extractor"):
        return model.feature_extractor
    layers = {layer.name: layer for layer in model._flatten_layers()}
    for name, end in _PLACES:
        if name in layers:
            return layers[name] if end == "output" else layers[name].input._keras_history.operation
    raise ValueError(
        f"{model.name} is not a model of the zoo, so the place of its features is not known: name "
        "the layer whose output they are, as `layer`; its last convolution is usual."
    )


def _named(model, layer):
    """The layer, which may be given by its name."""
    if isinstance(layer, keras.layers.Layer):
        return layer
    layers = model._flatten_layers(include_self=False)
    found = [each for each in layers if each.name == layer]
    if len(found) > 1:
        raise ValueError(
            f"{model.name} has {len(found)} layers called {layer!r}: pass the layer itself, found "
            "with `get_layer` of the part of the model that it is in."
        )
    if not found:
        names = [each.name for each in layers]
        near = difflib.get_close_matches(str(layer), names, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"{model.name} has no layer {layer!r}.{hint}")
    return found[0]
