"""An information bottleneck that is optimised for each image: Schulz et al., ICLR 2020."""

import functools

import numpy as np
from keras import ops

from aib_keras.explain import runners
from aib_keras.explain.class_scores import known_classes, predict
from aib_keras.explain.gradients import gradient
from aib_keras.explain.tapped_layers import Features, output_of, tapped_layer
from aib_keras.models import class_outputs
from aib_keras.models.through_predict import predict_undistributed
from aib_keras.utils.checks import check_integer, check_positive, check_seed
from aib_keras.utils.optional import require


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
    """Optimises a map for each image: the information that each position must pass, in nats.

    The features R of a layer are replaced by `a * R + (1 - a) * eps`, with noise `eps` of the mean
    and standard deviation of each feature. For each image, Adam changes the logits of `a` so that
    the cross-entropy of the class, plus `beta` times the mean over the features of the KL
    divergence of the replaced features from the noise, falls. A Gaussian filter smooths `a`.
    This takes `steps * samples` forward and backward passes through what follows the layer.
    `IBAttention` with `modulation="noise"` learns such a map in training, and needs one pass.

    Source: Schulz et al., Restricting the Flow, ICLR 2020, section 3.1, whose settings are the
    defaults. They estimate the statistics from 10,000 training images. As in their code, the
    standard deviation is at least 0.01; otherwise features that hardly vary would seem to pass much
    information.

    Args:
        model: As in `grad_cam`.
        images: Array `(N, H, W, channels)`, in the range that the model takes.
        layer: As in `grad_cam`.
        class_index: As in `grad_cam`.
        beta: Positive number, the price of the information.
        steps: Integer, the steps of Adam.
        samples: Integer, the samples of the noise in each step.
        learning_rate: Positive number, that of Adam.
        sigma: Positive number, the standard deviation of the filter in cells.
        reference_images: Images `(M, H, W, 3)`, M at least 2. The noise has the mean and standard
            deviation of their features. Defaults to `images`.
        seed: Integer in [0, 2**32 - 1], of the noise.
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
    tapped = tapped_layer(runners.check_model(model), layer)
    extractor = runners.runner(Features, model, tapped)
    features = reference = predict(extractor, model, images, class_index, batch_size)
    if reference_images is not None:
        reference = predict(extractor, model, reference_images, None, batch_size)
        if reference.shape[1:] != features.shape[1:]:
            raise ValueError(
                f"The features of `reference_images` have shape {reference.shape[1:]}, and those "
                f"of `images` {features.shape[1:]}: pass reference images of the same size."
            )
    if len(reference) < 2:
        raise ValueError(
            "The noise has the standard deviation of the features over at least 2 images, got "
            f"{len(reference)}. Pass `reference_images`, such as some hundred training images."
        )
    mean, scale = reference.mean(axis=0), np.maximum(reference.std(axis=0), _LEAST_SCALE)
    normalized = (features - mean) / scale
    images = ops.convert_to_numpy(images)
    classes = known_classes(model, class_index, images, batch_size)
    runner = runners.runner(_LogProbability, model, tapped)
    rng = np.random.default_rng(check_seed("seed", seed))

    def slope(part, passed):
        """Returns the gradient of the mean cross-entropy at the shares that pass."""
        found = np.zeros_like(passed)
        statistics = [np.broadcast_to(each, passed.shape) for each in (mean, scale)]
        for _ in range(samples):
            noise = rng.standard_normal(passed.shape, np.float32)
            inputs = [images[part], classes[part], normalized[part], passed, noise]
            found -= predict_undistributed(runner, [*inputs, *statistics], batch_size)
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


class _LogProbability(Features):
    """The gradient of the class's log-probability at the shares of the features that pass."""

    def call(self, inputs):
        images, classes, normalized, passed, noise, mean, scale = inputs

        def score(passed):
            kept = mean + scale * (passed * normalized + (1.0 - passed) * noise)
            # An operation such as a sum has no precision of its own.
            dtype = getattr(self.tapped, "compute_dtype", self.classifier.compute_dtype)
            kept = ops.cast(kept, dtype)
            with output_of(self.tapped, replaced_by=kept):
                logits = class_outputs.logits(self.classifier, images)
            chosen = ops.one_hot(classes, logits.shape[-1], dtype="float32")
            return ops.sum(chosen * ops.log_softmax(logits))

        return gradient(score, passed, self.classifier)


_LEAST_SCALE = np.float32(0.01)
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

    def sigmoid(logits):
        return 1 / (1 + np.exp(-logits))

    def passed_at(shares):
        return np.minimum(smooth(shares), _MOST_PASSED).astype(np.float32)

    logits = np.full(features.shape, _FIRST_LOGIT, np.float32)
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(1, steps + 1):
        shares = sigmoid(logits)
        passed = passed_at(shares)
        # Of the mean over the features of one image.
        price = beta / features[0].size * _information_slope(features, passed)
        found = smooth(slope(passed) + price) * shares * (1 - shares)
        first = 0.9 * first + 0.1 * found
        second = 0.999 * second + 0.001 * np.square(found)
        corrected = np.sqrt(second / (1 - 0.999**step))
        logits -= learning_rate * first / (1 - 0.9**step) / (corrected + 1e-8)
    return passed_at(sigmoid(logits))


def _information(features, passed):
    """Returns KL(N(a r, (1 - a)^2) | N(0, 1)) in nats, for normalised features r and shares a."""
    left = 1 - passed
    return 0.5 * (np.square(passed * features) + np.square(left) - 1) - np.log(left)


def _information_slope(features, passed):
    """Returns the derivative of `_information` with respect to the shares."""
    return passed * np.square(features) - (1 - passed) + 1 / (1 - passed)
