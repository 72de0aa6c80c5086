"""Saliency maps of any image classifier, as baselines for attention maps."""

import contextlib
import functools

import keras
import numpy as np
from keras import ops

from aib_keras.explain import runners
from aib_keras.explain.gradients import gradient
from aib_keras.models import ImageClassifier
from aib_keras.models.through_predict import ThroughPredict
from aib_keras.utils.checks import check_class_index, check_integer, check_positive, check_size
from aib_keras.utils.optional import require
from aib_keras.utils.suggestions import did_you_mean


def grad_cam(model, images, layer=None, class_index=None, batch_size=64):
    """Computes Grad-CAM maps, without sampling.

    The map is ReLU(a weighted sum of the features' channels). The weight of a channel is the mean
    over its positions of the gradient of the class's logit. Paths from the images to the logits
    that bypass the layer count as constant.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2. This library has its own
    implementation because others (tf-keras-vis 0.8.7, xplique 2.0.2) need TensorFlow and a
    functional model whose graph they can rebuild. It works for nested models, models with
    preprocessing inside, and models that end in a softmax.

    Args:
        model: Built `keras.Model` from images to logits or probabilities `(B, C)`.
        images: Array `(N, H, W, 3)`, in the range that the model takes.
        layer: Optional layer of the model, or its name, whose output `(B, h, w, C)` is used as the
            features. By default, for an `ImageClassifier` it is `model.features_layer`, which in
            the zoo is the layer at the place of IB attention, before any modulation. For other
            models it is the last layer whose output is a map, as in the paper.
        class_index: Integer, or integers `(N,)`, the class to explain. Defaults to the predicted
            class of each image.
        batch_size: Integer, the number of images per forward pass.

    Returns:
        A float32 array `(N, h, w, 1)` of values of at least 0, in logits per position.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If `images` are not as described, the model has no such layer or class, the
            layer's output is not `(B, h, w, C)`, or no layer is passed and none is found.
    """
    tapped = _tapped_layer(runners.check_model(model), layer)
    return _predict(runners.runner(_GradCAM, model, tapped), model, images, class_index, batch_size)


def grad_cam_plus_plus(model, images, layer=None, class_index=None, batch_size=64):
    """Computes Grad-CAM++ maps, which weigh the positions of a channel by their gradients.

    They cover several objects of a class better than those of Grad-CAM.

    Source: Chattopadhyay et al., Grad-CAM++, WACV 2018, Eq. 10 and 19, for a score that is the
    exponential of the logit.

    The arguments, returns and errors are those of `grad_cam`. The values have no unit.
    """
    tapped = _tapped_layer(runners.check_model(model), layer)
    return _predict(
        runners.runner(_GradCAMPlusPlus, model, tapped), model, images, class_index, batch_size
    )


def score_cam(model, images, layer=None, class_index=None, batch_size=64):
    """Computes Score-CAM maps, which weigh a channel by what its part of the image does.

    Each channel of the features, upsampled and scaled to [0, 1], is laid over the image: where it
    is 0, the image's mean colour is shown. The weight of the channel is the softmax over the
    channels of the class's logit for that image. The map is ReLU(the weighted sum of the channels).
    It needs no gradient, and one forward pass per image and channel.

    Source: Wang et al., Score-CAM, CVPR Workshops 2020, Eq. 2 to 4. They have black, or zero after
    normalisation, in place of the mean colour.

    The arguments, returns and errors are those of `grad_cam`; the values have no unit.
    """
    tapped = _tapped_layer(runners.check_model(model), layer)
    features = _predict(
        runners.runner(_Features, model, tapped), model, images, class_index, batch_size
    )
    images = ops.convert_to_numpy(images).astype(np.float32)
    classes = _known_classes(model, class_index, images, batch_size)
    scorer = runners.runner(_ClassLogit, model)
    maps = np.empty((*features.shape[:3], 1), np.float32)
    for index, (image, channels) in enumerate(zip(images, features, strict=True)):
        mean = image.mean(axis=(0, 1))
        masks = _channel_masks(channels, image.shape[:2])
        chosen = np.full(len(masks), classes[index])
        # A batch at a time, because all of them at once can be gigabytes.
        parts = (slice(start, start + batch_size) for start in range(0, len(masks), batch_size))
        logits = np.concatenate(
            [
                runners.run(scorer, [mean + masks[part] * (image - mean), chosen[part]], batch_size)
                for part in parts
            ]
        ).astype(np.float64)
        weights = np.exp(logits - logits.max())
        maps[index, ..., 0] = np.maximum(channels @ (weights / weights.sum()), 0)
    return maps


def per_sample_bottleneck(
    model,
    images,
    layer=None,
    class_index=None,
    beta=10.0,
    steps=10,
    samples=10,
    learning_rate=1.0,
    sigma=1.0,
    reference_images=None,
    seed=0,
    batch_size=64,
):
    """Computes by optimisation, image by image, how much information each position has to pass.

    The features R of a layer are replaced by `a * R + (1 - a) * eps`, with noise `eps` of the mean
    and standard deviation of each feature. For each image, Adam changes the logits of `a` so that
    the cross-entropy of the class, plus `beta` times the mean over the features of the KL
    divergence of the replaced features from the noise, falls. A Gaussian filter smooths the logits.
    This takes `steps * samples` forward and backward passes through what follows the layer.
    `IBAttention` with `modulation="noise"` learns such a map in training, and needs one pass.

    Source: Schulz et al., Restricting the Flow, ICLR 2020, section 3.1, whose settings are the
    defaults. They estimate the statistics from 10,000 training images.

    Args:
        model: As in `grad_cam`.
        images: As in `grad_cam`.
        layer: As in `grad_cam`.
        class_index: As in `grad_cam`.
        beta: Positive number, the price of the information.
        steps: Integer, the steps of Adam.
        samples: Integer, the samples of the noise in each step.
        learning_rate: Positive number, that of Adam.
        sigma: Positive number, the standard deviation of the filter in cells.
        reference_images: Images `(M, H, W, 3)`, M at least 2, whose features have the statistics of
            the noise. Defaults to `images`.
        seed: Integer, of the noise.
        batch_size: Integer, the number of images per forward pass, each sample counting as one.

    Returns:
        A float32 array `(N, h, w, 1)` of values of at least 0, in nats per position: the sum over
        the channels of the KL divergence.

    Raises:
        ImportError: Without SciPy.
        TypeError: As in `grad_cam`.
        ValueError: As in `grad_cam`, if a number is not as described, or if there are fewer than
            two reference images.
    """
    for name, value in (("beta", beta), ("learning_rate", learning_rate), ("sigma", sigma)):
        check_positive(name, value)
    steps, samples = (
        check_integer(name, value, minimum=1)
        for name, value in (("steps", steps), ("samples", samples))
    )
    tapped = _tapped_layer(runners.check_model(model), layer)
    extractor = runners.runner(_Features, model, tapped)
    features = reference = _predict(extractor, model, images, class_index, batch_size)
    if reference_images is not None:
        reference = _predict(extractor, model, reference_images, None, batch_size)
    if len(reference) < 2:
        raise ValueError(
            "The noise has the standard deviation of the features over at least 2 images, got "
            f"{len(reference)}. Pass `reference_images`, such as some hundred training images."
        )
    mean, scale = reference.mean(axis=0), reference.std(axis=0)
    # A feature that never varies passes nothing.
    normalized = np.divide(features - mean, scale, out=np.zeros_like(features), where=scale > 0)
    images = ops.convert_to_numpy(images)
    classes = _known_classes(model, class_index, images, batch_size)
    runner = runners.runner(_LogProbability, model, tapped)
    rng = np.random.default_rng(seed)

    def slope(part, passed):
        """Returns the gradient of the mean cross-entropy at the shares that pass."""
        found = np.zeros_like(passed)
        statistics = [np.broadcast_to(each, passed.shape) for each in (mean, scale)]
        for _ in range(samples):
            noise = rng.standard_normal(passed.shape, np.float32)
            inputs = [images[part], classes[part], normalized[part], passed, noise]
            found -= runners.run(runner, [*inputs, *statistics], batch_size)
        return found / samples

    maps = np.empty((*features.shape[:3], 1), np.float32)
    # A batch at a time, because Adam keeps three arrays as large as the features.
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        passed = _least_information(
            normalized[part], functools.partial(slope, part), beta, steps, learning_rate, sigma
        )
        maps[part] = _information(normalized[part], passed).sum(axis=-1, keepdims=True)
    return maps


def gradient_map(model, images, map_shape=None, class_index=None, batch_size=64):
    """Computes how strongly each pixel changes a class's logit, without sampling.

    The value of a pixel is the largest absolute gradient of its channels.

    Source: Simonyan et al., Deep Inside Convolutional Networks, 2014, section 3.1.

    Args:
        model: As in `grad_cam`.
        images: Array `(N, H, W, 3)`, in the range that the model takes.
        map_shape: Optional (height, width) of a coarser map, at most (H, W). Each of its cells is
            the mean over its pixels. Defaults to (H, W).
        class_index: As in `grad_cam`.
        batch_size: Integer, the number of images per forward pass.

    Returns:
        A float32 array `(N, H, W, 1)`, or of `map_shape`, of values of at least 0, in logits per
        unit of the images.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If `images` are not as described, the model has no such class, or `map_shape` is
            finer than the images.
    """
    runners.check_model(model)
    if map_shape is not None:
        map_shape = check_size("map_shape", map_shape)
        sides = np.shape(images)[1:3]
        if any(cells > pixels for cells, pixels in zip(map_shape, sides, strict=False)):
            raise ValueError(
                f"`map_shape` must be at most the images' {sides}, got {map_shape}: the gradient "
                "has one value per pixel."
            )
    return _predict(_GradientMap(model, map_shape), model, images, class_index, batch_size)


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
    """Base of models from images and classes to maps of what changes the logits of the classes."""

    def logits_of(self, images, classes):
        """Returns the logits of the classes, `(B,)`. A class below 0 is the predicted one."""
        logits = runners.logits(self.classifier, images)
        chosen = ops.where(classes < 0, ops.argmax(logits, axis=-1), classes)
        return ops.sum(ops.one_hot(chosen, logits.shape[-1], dtype="float32") * logits, axis=-1)

    def score(self, images, classes):
        """Returns the sum of the classes' logits.

        Its gradient with respect to one image is that of the image's own logit.
        """
        return ops.sum(self.logits_of(images, classes))


class _GradientMap(_Saliency):
    def __init__(self, classifier, map_shape):
        super().__init__(classifier, name="saliency")
        self.pooling = None
        if map_shape is not None:
            self.pooling = keras.layers.AdaptiveAveragePooling2D(
                map_shape, data_format="channels_last"
            )

    def call(self, inputs):
        images, classes = inputs
        found = gradient(lambda images: self.score(images, classes), ops.cast(images, "float32"))
        found = ops.max(ops.abs(found), axis=-1, keepdims=True)
        return found if self.pooling is None else self.pooling(found)


class _ClassLogit(_Saliency):
    def __init__(self, classifier):
        super().__init__(classifier, name="class_logit")

    def call(self, inputs):
        return self.logits_of(*inputs)


class _Features(_Saliency):
    """The output of a layer, `(B, h, w, C)`."""

    def __init__(self, classifier, tapped):
        super().__init__(classifier, name="saliency")
        self.tapped = tapped

    def call(self, inputs):
        return ops.cast(self.features_of(inputs[0]), "float32")

    def features_of(self, images):
        with _output_of(self.tapped) as seen:
            self.classifier(images, training=False)
        if len(seen) != 1 or len(seen[0].shape) != 4:
            shapes = [tuple(each.shape) for each in seen]
            raise ValueError(
                "Class activation maps need a layer that the model calls once and whose output is "
                f"(B, h, w, C); in {self.classifier.name}, the outputs of {self.tapped.name!r} "
                f"have shapes {shapes}. Pass another `layer`."
            )
        return seen[0]


class _GradCAM(_Features):
    def call(self, inputs):
        images, classes = inputs
        features = self.features_of(images)

        def score(features):
            with _output_of(self.tapped, replaced_by=features):
                return self.score(images, classes)

        gradients = ops.cast(gradient(score, features), "float32")
        features = ops.cast(features, "float32")
        return ops.relu(ops.sum(features * self.weights_of(features, gradients), -1, keepdims=True))

    def weights_of(self, features, gradients):
        """Returns the weights of the channels, `(B, 1, 1, C)`."""
        del features
        return ops.mean(gradients, axis=(1, 2), keepdims=True)


class _GradCAMPlusPlus(_GradCAM):
    def weights_of(self, features, gradients):
        squares = ops.square(gradients)
        total = ops.sum(features, axis=(1, 2), keepdims=True)
        divisor = 2.0 * squares + total * squares * gradients
        shares = ops.where(divisor != 0, squares / ops.where(divisor != 0, divisor, 1.0), 0.0)
        return ops.sum(shares * ops.relu(gradients), axis=(1, 2), keepdims=True)


class _LogProbability(_Features):
    """The gradient of the class's log-probability at the shares of the features that pass."""

    def call(self, inputs):
        images, classes, normalized, passed, noise, mean, scale = inputs

        def score(passed):
            kept = mean + scale * (passed * normalized + (1.0 - passed) * noise)
            kept = ops.cast(kept, self.tapped.compute_dtype)
            with _output_of(self.tapped, replaced_by=kept):
                logits = runners.logits(self.classifier, images)
            chosen = ops.one_hot(classes, logits.shape[-1], dtype="float32")
            return ops.sum(chosen * ops.log_softmax(logits))

        return gradient(score, passed)


# Shares that pass are kept below 1, where the information would be infinite.
_MOST_PASSED = 1 - 1e-6
# At the start nearly everything passes.
_FIRST_LOGIT = 5.0


def _least_information(features, slope, beta, steps, learning_rate, sigma):
    """Returns the shares of normalised features that pass, after some steps of Adam."""

    ndimage = require("scipy.ndimage", "`per_sample_bottleneck`", "train")

    def smooth(values):
        # Reflected at the edges, the filter is its own transpose.
        return ndimage.gaussian_filter(values, (0, sigma, sigma, 0), mode="reflect")

    def share(logits):
        return np.minimum(1 / (1 + np.exp(-smooth(logits))), _MOST_PASSED).astype(np.float32)

    logits = np.full(features.shape, _FIRST_LOGIT, np.float32)
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(1, steps + 1):
        passed = share(logits)
        # Of the mean over the features of one image.
        price = beta / features[0].size * _information_slope(features, passed)
        found = smooth((slope(passed) + price) * passed * (1 - passed))
        first = 0.9 * first + 0.1 * found
        second = 0.999 * second + 0.001 * np.square(found)
        corrected = np.sqrt(second / (1 - 0.999**step))
        logits -= learning_rate * first / (1 - 0.9**step) / (corrected + 1e-8)
    return share(logits)


def _information(features, passed):
    """Returns KL(N(a r, (1 - a)^2) | N(0, 1)) in nats, for normalised features r and shares a."""
    left = 1 - passed
    return 0.5 * (np.square(passed * features) + np.square(left) - 1) - np.log(left)


def _information_slope(features, passed):
    """Returns the derivative of `_information` with respect to the shares."""
    return passed * np.square(features) - (1 - passed) + 1 / (1 - passed)


def _channel_masks(channels, shape):
    """Returns the channels of `(h, w, C)` as maps in [0, 1] over an image, `(C, H, W, 1)`.

    A channel that is the same everywhere shows nothing.
    """
    masks = ops.image.resize(
        np.moveaxis(channels, -1, 0)[..., None], shape, data_format="channels_last"
    )
    masks = ops.convert_to_numpy(masks)
    masks = masks - masks.min(axis=(1, 2), keepdims=True)
    highest = masks.max(axis=(1, 2), keepdims=True)
    return np.divide(masks, highest, out=np.zeros_like(masks), where=highest > 0)


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


def _predict(runner, model, images, class_index, batch_size):
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    images = runners.checked_images(model, images)
    classes = _classes(model, class_index, images)
    return runners.run(runner, [images, classes], batch_size)


def _classes(model, class_index, images):
    """Returns the class of each image, int32 `(N,)`; -1 stands for the predicted one."""
    if class_index is None:
        return np.full(len(images), -1, "int32")
    return check_class_index(class_index, len(images), runners.count_classes(model, images))


def _known_classes(model, class_index, images, batch_size):
    """Returns the class of each image, int32 `(N,)`, the predicted one in place of -1."""
    if class_index is None:
        class_index = model.predict(images, batch_size=batch_size, verbose=0).argmax(axis=-1)
    return _classes(model, class_index, images)


def _tapped_layer(model, layer):
    """Returns the layer whose output the gradients refer to."""
    if layer is not None:
        return _find_layer(model, layer)
    is_ours = isinstance(model, ImageClassifier)
    found = model.features_layer if is_ours else _last_map(model)
    if found is None:
        raise ValueError(
            f"It is not known which layer of {model.name} to take the features from. Pass a layer "
            "or its name as `layer`; the last convolution is usual."
        )
    return found


def _last_map(model):
    """Returns the last layer of a model whose output is a map, or None if the graph is unknown."""
    found = None
    for layer in getattr(model, "layers", []):
        if isinstance(layer, keras.Model):
            found = _last_map(layer) or found
            continue
        try:
            shape = layer.output.shape
        except (AttributeError, ValueError):
            continue
        if len(shape) == 4 and not isinstance(layer, keras.layers.InputLayer) and shape[1] != 1:
            found = layer
    return found


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


def _check_map_shape(shape):
    sides = tuple(shape) if np.ndim(shape) == 1 else ()
    if len(sides) != 4 or sides[3] != 1:
        raise ValueError(f"`shape` must be (N, h, w, 1), got {shape!r}.")
    return tuple(check_integer("shape", side, minimum=1) for side in sides)
