"""Adversarial images: the small changes that raise the loss of a classifier most."""

import keras
import numpy as np
from keras import ops

from aib_keras.explain import runners
from aib_keras.explain.gradients import gradient
from aib_keras.models import VariationalClassifier, class_outputs
from aib_keras.models.through_predict import ThroughPredict, predict_undistributed
from aib_keras.utils.checks import (
    check_class_index,
    check_integer,
    check_number,
    check_positive,
    check_seed,
)


def fgsm(model, images, labels, epsilon, samples=0, seed=0, bounds=(0, 255), batch_size=64):
    """Changes every pixel by `epsilon` in the direction that raises the loss: one gradient step.

        images + epsilon * sign(gradient of the cross-entropy)      clipped to `bounds`

    Where the gradient is 0, the pixel stays.

    Source: Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015.

    Args:
        model: Built `keras.Model` from images to logits or probabilities `(B, C)`.
        images: Array `(N, H, W, 3)`, in the range that the model takes.
        labels: Integers `(N,)`, the true classes.
        epsilon: Non-negative number, the largest change of a pixel in the units of the images. The
            "8/255" of the literature is 8 for images in [0, 255].
        samples: Integer. 0: the gradient of the deterministic prediction, through the means of the
            map and the latent. At least 1, for a `VariationalClassifier` only: the gradient of the
            cross-entropy averaged over the single predictions of `predict_mc(samples=samples)`.
        seed: Integer in [0, 2**32 - 1], the seed of the samples.
        bounds: Pair (lowest, highest) of values that a pixel can have.
        batch_size: Integer, the number of images per forward pass.

    Returns:
        A float32 array of the shape of `images`.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If an argument is not as described, images are outside `bounds`, or `samples` is
            not 0 for a model without distributions.
    """
    attack = _Attack(model, images, labels, epsilon, samples, bounds, batch_size)
    random = np.random.default_rng(check_seed("seed", seed))
    return attack.moved(attack.images, attack.epsilon, random)


def pgd(
    model,
    images,
    labels,
    epsilon,
    steps=10,
    step_size=None,
    samples=0,
    seed=0,
    bounds=(0, 255),
    batch_size=64,
):
    """Raises the loss in several gradient steps, with changes of at most `epsilon` per pixel.

    It starts at a random place: every pixel is changed by a uniform random number in
    [-epsilon, epsilon]. Each step adds `step_size` times the sign of the gradient and projects the
    result onto the changes that are allowed. It uses one random start and returns the images after
    the last step. A model that withstands it may still fail under a stronger attack, especially if
    its gradients are 0 or noisy.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018.
    Averaging gradients over samples: Athalye et al., ICML 2018.

    Args:
        model: As in `fgsm`.
        images: As in `fgsm`.
        labels: As in `fgsm`.
        epsilon: As in `fgsm`.
        steps: Integer of at least 1.
        step_size: Positive number, in the units of the images. Defaults to 2.5 * epsilon / steps.
        samples: As in `fgsm`. Each step draws new samples.
        seed: Integer in [0, 2**32 - 1], the seed of the start and of the samples.
        bounds: As in `fgsm`.
        batch_size: As in `fgsm`.

    Returns:
        A float32 array of the shape of `images`.

    Raises:
        TypeError, ValueError: As `fgsm`.
    """
    attack = _Attack(model, images, labels, epsilon, samples, bounds, batch_size)
    steps = check_integer("steps", steps, minimum=1)
    if step_size is None:
        step_size = 2.5 * attack.epsilon / steps
    else:
        step_size = check_positive("step_size", step_size)
    random = np.random.default_rng(check_seed("seed", seed))
    start = random.uniform(-attack.epsilon, attack.epsilon, attack.images.shape)
    changed = attack.projected(attack.images + start.astype("float32"))
    for _ in range(steps):
        changed = attack.moved(changed, step_size, random)
    return changed


# A logit whose class has no probability.
_NOTHING = -1e30


class _Attack:
    """The arguments of an attack, checked, and its steps."""

    def __init__(self, model, images, labels, epsilon, samples, bounds, batch_size):
        runners.check_differentiable(runners.check_model(model))
        self.batch_size = check_integer("batch_size", batch_size, minimum=1)
        self.epsilon = check_number("epsilon", epsilon, minimum=0)
        samples = check_integer("samples", samples, minimum=0)
        if samples and not isinstance(model, VariationalClassifier):
            raise ValueError(
                f"`samples` must be 0 for {model.name}, which has no distributions to draw from, "
                f"got {samples}."
            )
        self.images = runners.checked_images(model, images).astype("float32")
        low, high = self._check_bounds(bounds)
        self.lowest = np.maximum(self.images - self.epsilon, low).astype("float32")
        self.highest = np.minimum(self.images + self.epsilon, high).astype("float32")
        classes = runners.count_classes(model, self.images)
        self.labels = check_class_index(labels, len(self.images), classes, name="labels")
        self.runner = runners.runner(_LossGradient, model, samples)

    def _check_bounds(self, bounds):
        try:
            low, high = (float(bound) for bound in bounds)
        except (TypeError, ValueError):
            low, high = 0.0, 0.0
        if not low < high:
            raise ValueError(f"`bounds` must be a pair (lowest, highest), got {bounds!r}.")
        found = float(self.images.min()), float(self.images.max())
        if found[0] < low or found[1] > high:
            raise ValueError(
                f"`images` must be in `bounds` [{low:g}, {high:g}], and they are in "
                f"[{found[0]:g}, {found[1]:g}]."
            )
        return low, high

    def moved(self, changed, step_size, random):
        """Returns images after a step that raises the loss, with samples from a new seed."""
        # Not from where the last step stopped: that state depends on the backend. On torch a seed
        # has 31 bits.
        self.runner.seed_generator.state.assign([int(random.integers(2**31)), 0])
        found = predict_undistributed(self.runner, [changed, self.labels], self.batch_size)
        return self.projected(changed + np.float32(step_size) * np.sign(found))

    def projected(self, changed):
        return np.clip(changed, self.lowest, self.highest)


class _LossGradient(ThroughPredict):
    """A gradient with respect to the images that has the direction of the cross-entropy's.

    The cross-entropy is softplus(u), where u is the logarithm of the odds against the label. Its
    gradient is sigmoid(u) times that of u. The first factor becomes 0 where a model is confident,
    and does not change the direction. So it is left out, but for the weights of several samples.
    """

    def __init__(self, classifier, samples):
        super().__init__(classifier, name="attack")
        self.samples = samples
        # Set before each use.
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        images, labels = inputs

        def loss(images):
            logits = ops.cast(self.logits_of(images), "float32")
            is_label = ops.one_hot(labels, logits.shape[-1], dtype="bool")
            others = ops.logsumexp(ops.where(is_label, _NOTHING, logits), axis=-1)
            odds = others - ops.sum(ops.where(is_label, logits, 0.0), axis=-1)
            slopes = ops.stop_gradient(ops.log_sigmoid(odds))
            weights = ops.exp(slopes - ops.logsumexp(slopes, axis=0))
            # A sum over images: its gradient with respect to one image is that of its own loss.
            return ops.sum(weights * odds)

        return gradient(loss, ops.cast(images, "float32"), self.classifier)

    def logits_of(self, images):
        """Returns the logits of all predictions, `(P, B, C)`."""
        if self.samples:
            return self.classifier.sampled_logits(images, self.samples, self.seed_generator)
        return class_outputs.logits(self.classifier, images)[None]
