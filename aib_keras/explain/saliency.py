"""Saliency maps of any image classifier, as baselines for attention maps."""

import contextlib

import keras
import numpy as np
from keras import ops

from aib_keras.explain.gradients import gradient
from aib_keras.models import ImageClassifier
from aib_keras.models.through_predict import ThroughPredict
from aib_keras.utils.checks import check_integer, check_positive, check_size
from aib_keras.utils.suggestions import did_you_mean


def grad_cam(model, images, layer=None, batch_size=64):
    """Computes Grad-CAM maps of the predicted class, without sampling.

    The map is ReLU(a weighted sum of the features' channels). The weight of a channel is the mean
    over its positions of the gradient of the predicted class's logit.

    By default the features are the output of `model.features_layer`. The models of the zoo set it
    to the layer at the place of IB attention, before any modulation, so that these maps have the
    resolution of the attention maps. Paths from the images to the logits that bypass this layer
    count as constant.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2. They use the last convolution; pass
    it as `layer` to do the same. This library has its own implementation because others
    (tf-keras-vis 0.8.7, xplique 2.0.2) need TensorFlow and a functional model.

    Args:
        model: `ImageClassifier`, such as any model of the zoo.
        images: Array `(N, H, W, 3)`, in the range that the model takes.
        layer: Optional layer of the model, or its name. Its output `(B, h, w, C)` is used as the
            features.
        batch_size: Integer, the number of images per forward pass.

    Returns:
        A float32 array `(N, h, w, 1)` of values of at least 0, in logits per position.

    Raises:
        TypeError: If `model` is not an `ImageClassifier`.
        ValueError: If `images` are not as described, the model has no such layer, the layer's
            output is not `(B, h, w, C)`, or no layer is passed and the model has no
            `features_layer`.
    """
    _check_model(model)
    tapped = _features_layer(model) if layer is None else _find_layer(model, layer)
    return _predict(_GradCAM(model, tapped), model, images, batch_size)


def gradient_map(model, images, map_shape=None, batch_size=64):
    """Computes how strongly each pixel changes the predicted class's logit, without sampling.

    The value of a pixel is the largest absolute gradient of its channels.

    Source: Simonyan et al., Deep Inside Convolutional Networks, 2014, section 3.1.

    Args:
        model: `ImageClassifier`, such as any model of the zoo.
        images: Array `(N, H, W, 3)`, in the range that the model takes.
        map_shape: Optional (height, width) of a coarser map, at most (H, W). Each of its cells is
            the mean over its pixels. Defaults to (H, W).
        batch_size: Integer, the number of images per forward pass.

    Returns:
        A float32 array `(N, H, W, 1)`, or of `map_shape`, of values of at least 0, in logits per
        unit of the images.

    Raises:
        TypeError: If `model` is not an `ImageClassifier`.
        ValueError: If `images` are not as described, or `map_shape` is finer than the images.
    """
    _check_model(model)
    if map_shape is not None:
        map_shape = check_size("map_shape", map_shape)
        sides = np.shape(images)[1:3]
        if any(cells > pixels for cells, pixels in zip(map_shape, sides, strict=False)):
            raise ValueError(
                f"`map_shape` must be at most the images' {sides}, got {map_shape}: the gradient "
                "has one value per pixel."
            )
    return _predict(_GradientMap(model, map_shape), model, images, batch_size)


def uniform_map(shape):
    """Returns maps that have the same value everywhere: a baseline without any preference.

    Args:
        shape: Shape `(N, h, w, 1)` of the maps.

    Returns:
        A float32 array of ones.

    Raises:
        ValueError: If `shape` is not as described.
    """
    return np.ones(_check_map_shape(shape), np.float32)


def gaussian_map(shape, sigma=0.25):
    """Returns maps that are high in the centre: a baseline that knows where objects mostly are.

    The values are those of a normal density, divided by the highest one.

    Args:
        shape: Shape `(N, h, w, 1)` of the maps.
        sigma: Positive number, the standard deviation as a share of the map's height and width.

    Returns:
        A float32 array of values in [0, 1].

    Raises:
        ValueError: If an argument is not as described.
    """
    count, height, width, _ = _check_map_shape(shape)
    sigma = check_positive("sigma", sigma)
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    squared = y[:, None] ** 2 + x**2
    # Relative to the central cells: for a small sigma, all values would otherwise round to 0.
    with np.errstate(over="ignore"):
        one = np.exp(-0.5 * (squared - squared.min()) / sigma / sigma).astype(np.float32)
    return np.tile(one[None, :, :, None], (count, 1, 1, 1))


class _Saliency(ThroughPredict):
    """Base of models that return maps of what changes the predicted class's logit."""

    def score(self, images):
        """Returns the sum of the predicted classes' logits.

        Its gradient with respect to one image is that of the image's own logit.
        """
        return ops.sum(ops.max(self.classifier(images, training=False), axis=-1))


class _GradientMap(_Saliency):
    def __init__(self, classifier, map_shape):
        super().__init__(classifier, name="saliency")
        self.pooling = None
        if map_shape is not None:
            self.pooling = keras.layers.AdaptiveAveragePooling2D(
                map_shape, data_format="channels_last"
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
                "Grad-CAM needs a layer that the model calls once and whose output is "
                f"(B, h, w, C); in {self.classifier.name}, the outputs of {self.tapped.name!r} "
                f"have shapes {shapes}. Pass another `layer`."
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
    """Collects the outputs of a layer in a list, or replaces them, while the context is active.

    This gives access to the features inside any model, including subclassed ones, on every
    backend. Gradients with respect to an intermediate value would not do: JAX has none.
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
        # Uncovers the method of the class.
        del layer.call


def _predict(runner, model, images, batch_size):
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    images = model._as_batch(images)
    return runner.predict(images, batch_size=batch_size, verbose=0)


def _features_layer(model):
    if model.features_layer is None:
        raise ValueError(
            f"{model.name} has no `features_layer`, so the layer to take the features from is not "
            "known. Pass a layer or its name as `layer`; the last convolution is usual."
        )
    return model.features_layer


def _find_layer(model, layer):
    """Returns `layer`, or the layer of the model that has this name."""
    if isinstance(layer, keras.layers.Layer):
        return layer
    layers = model._flatten_layers(include_self=False)
    found = [each for each in layers if each.name == layer]
    if len(found) > 1:
        raise ValueError(
            f"{model.name} has {len(found)} layers named {layer!r}. Pass the layer itself; "
            "`get_layer` of the part of the model that contains it returns it."
        )
    if not found:
        hint = did_you_mean(layer, [each.name for each in layers])
        raise ValueError(f"{model.name} has no layer {layer!r}.{hint}")
    return found[0]


def _check_model(model):
    if not isinstance(model, ImageClassifier):
        raise TypeError(
            f"`model` must be an aib_keras.models.ImageClassifier, got {type(model).__name__}. "
            "Wrap a model from images to logits in aib_keras.models.PlainClassifier(model)."
        )


def _check_map_shape(shape):
    sides = tuple(shape) if np.ndim(shape) == 1 else ()
    if len(sides) != 4 or sides[3] != 1:
        raise ValueError(f"`shape` must be (N, h, w, 1), got {shape!r}.")
    return tuple(check_integer("shape", side, minimum=1) for side in sides)
