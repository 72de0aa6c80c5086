"""Scores of how far to trust a classifier's probabilities.

They measure calibration, the error when uncertain images are rejected, and the detection of images
from another data set. The predicted class is the one of highest probability, and that probability
is the confidence. Every image has the same weight.

All functions take `probabilities` as a float array `(N, C)` whose rows sum to 1, from a single
deterministic pass or from `predict_mc`, and `labels` as an integer array `(N,)` of values in
[0, C). They raise a ValueError for anything else.
"""

import dataclasses

import numpy as np

from aib_keras.metrics.checks import check_finite, check_labels
from aib_keras.utils.checks import check_integer
from aib_keras.utils.optional import require

# How far the sum of a row may be from 1. Half precision needs this much.
_SUM_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """The values of a reliability diagram with M bins of confidence.

    Attributes:
        edges: Float array `(M + 1,)`, the edges of the bins, from 0 to 1. A bin includes its upper
            edge.
        count: Integer array `(M,)`, the number of images in each bin.
        confidence: Float array `(M,)` in [0, 1], the mean confidence of these images. NaN for an
            empty bin.
        accuracy: Float array `(M,)` in [0, 1], the share of these images that are predicted right.
            NaN for an empty bin.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self):
        """The mean over images of |accuracy - confidence| of their bin, in [0, 1]."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.count * gaps) / self.count.sum())


def negative_log_likelihood(probabilities, labels):
    """Computes the mean of -ln p(label), in nats. Lower is better.

    A perfect model scores 0, and one that predicts all C classes with equal probability scores
    ln C. A probability of 0 counts as 2.2e-308, so a single image adds at most 708 nats to the sum.

    Args:
        probabilities: Float array `(N, C)`.
        labels: Integer array `(N,)`.

    Returns:
        A float of at least 0.

    Raises:
        ValueError: If the probabilities are not `(N, C)` with rows that sum to 1, or the labels are
            not integers in [0, C), one per row.
    """
    probabilities, labels = _checked(probabilities, labels)
    of_label = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_label, np.finfo("float64").tiny)).mean())


def reliability(probabilities, labels, bins=15):
    """Computes accuracy and mean confidence in bins of confidence of equal width.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, who use 15 bins.

    Args:
        probabilities: Float array `(N, C)`.
        labels: Integer array `(N,)`.
        bins: Integer of at least 1.

    Returns:
        A `Reliability`.

    Raises:
        ValueError: If the probabilities are not `(N, C)` with rows that sum to 1, the labels are
            not integers in [0, C), one per row, or `bins` is not an integer of at least 1.
    """
    bins = check_integer("bins", bins, minimum=1)
    probabilities, labels = _checked(probabilities, labels)
    confidence = probabilities.max(axis=1)
    edges = np.linspace(0, 1, bins + 1)
    index = np.digitize(confidence, edges[1:-1], right=True)
    count = np.bincount(index, minlength=bins)

    def mean(values):
        total = np.bincount(index, weights=values, minlength=bins)
        return np.divide(total, count, out=np.full(bins, np.nan), where=count > 0)

    return Reliability(edges, count, mean(confidence), mean(probabilities.argmax(axis=1) == labels))


def expected_calibration_error(probabilities, labels, bins=15):
    """Computes the mean distance between confidence and accuracy. Lower is better.

    The distance is taken in bins of confidence of equal width. The result depends on the number of
    bins and is biased upwards for few images. It says nothing about the quality of the predictions:
    a model that always predicts the frequencies of the classes scores 0.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Args:
        probabilities: Float array `(N, C)`.
        labels: Integer array `(N,)`.
        bins: Integer of at least 1.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: If the probabilities are not `(N, C)` with rows that sum to 1, the labels are
            not integers in [0, C), one per row, or `bins` is not an integer of at least 1.
    """
    return reliability(probabilities, labels, bins).expected_calibration_error


def risk_coverage(probabilities, labels):
    """Computes the error on the most confident images, for every number of them.

    Coverage is the share of images that are accepted, the most confident first. Images of equal
    confidence cannot be told apart, so each of them counts with their mean error. The curve does
    not depend on the order of the images.

    Source: El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification,
    JMLR 2010.

    Args:
        probabilities: Float array `(N, C)`.
        labels: Integer array `(N,)`.

    Returns:
        A tuple `(coverage, error)` of float arrays `(N,)`, in (0, 1] and [0, 1]. The last error is
        that on all images, at coverage 1.

    Raises:
        ValueError: If the probabilities are not `(N, C)` with rows that sum to 1, or the labels are
            not integers in [0, C), one per row.
    """
    given = np.asarray(probabilities)
    probabilities, labels = _checked(given, labels)
    # As they are given: divided by their sums, equal confidences would differ in the last digits.
    _, level, count = np.unique(-given.max(axis=1), return_inverse=True, return_counts=True)
    wrong = np.bincount(level, weights=probabilities.argmax(axis=1) != labels)
    accepted = np.arange(1, len(labels) + 1)
    return accepted / len(labels), np.cumsum((wrong / count)[np.sort(level)]) / accepted


def area_under_risk_coverage(probabilities, labels):
    """Computes the mean error over all coverages. Lower is better.

    If the confidence is random, the expected area is the model's error rate. Two models with
    different error rates have different areas, even if they know equally well when they are wrong.

    Source: Geifman et al., Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers,
    ICLR 2019.

    Args:
        probabilities: Float array `(N, C)`.
        labels: Integer array `(N,)`.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: If the probabilities are not `(N, C)` with rows that sum to 1, or the labels are
            not integers in [0, C), one per row.
    """
    return float(risk_coverage(probabilities, labels)[1].mean())


def ood_scores(probabilities, kl_nats=None):
    """Computes scores that should be higher for out-of-distribution images.

    Args:
        probabilities: Float array `(N, C)`.
        kl_nats: Optional float array `(N,)`, the `kl_nats` of `model.explain`. Alemi et al.,
            Uncertainty in the Variational Information Bottleneck, 2018, take a high value as a sign
            of an out-of-distribution image.

    Returns:
        A dict of float arrays `(N,)`:

        - `maximum`: 1 minus the highest probability, in [0, 1).
        - `entropy`: The entropy of the prediction in nats, in [0, ln C].
        - `kl`: `kl_nats`, if it was passed.

    Raises:
        ValueError: If the probabilities are not `(N, C)` with rows that sum to 1, or `kl_nats` is
            not one finite number per row.
    """
    probabilities = _checked_probabilities(probabilities)
    logarithm = np.log(np.where(probabilities > 0, probabilities, 1.0))
    scores = {
        "maximum": 1 - probabilities.max(axis=1),
        "entropy": -(probabilities * logarithm).sum(axis=1),
    }
    if kl_nats is not None:
        if np.shape(kl_nats) != (len(probabilities),):
            raise ValueError(
                f"Got kl_nats of shape {np.shape(kl_nats)} for {len(probabilities)} images: pass "
                "one number per image."
            )
        scores["kl"] = check_finite("kl_nats", kl_nats)
    return scores


def ood_auroc(inside, outside):
    """Computes how well a score separates another data set from the model's own.

    The result is the probability that a random image from outside has a higher score than a random
    image from inside, where equal scores count half. It is 1 for perfect separation and 0.5 for
    chance; below 0.5 the score points the wrong way. It compares two particular data sets, which
    may be easier than the images that a user meets.

    Source: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks, ICLR 2017.

    Args:
        inside: Float array `(N,)`, a score of `ood_scores` for test images of the model's own data
            set.
        outside: Float array `(M,)`, the same score for images of another data set.

    Returns:
        A float in [0, 1].

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If the scores are not finite, not one-dimensional, or empty.
    """
    sklearn_metrics = require("sklearn.metrics", "`ood_auroc`", "train")
    for name, values in {"inside": inside, "outside": outside}.items():
        if np.ndim(values) != 1 or not len(values):
            raise ValueError(
                f"`{name}` must have shape (N,), with one score for each of at least one image, "
                f"got {np.shape(values)}."
            )
    scores = check_finite("inside", inside), check_finite("outside", outside)
    is_outside = np.repeat([0, 1], [len(values) for values in scores])
    return float(sklearn_metrics.roc_auc_score(is_outside, np.concatenate(scores)))


def _checked(probabilities, labels):
    """Returns the checked probabilities and labels."""
    probabilities = _checked_probabilities(probabilities)
    return probabilities, check_labels(labels, *probabilities.shape)


def _checked_probabilities(probabilities):
    """Returns probabilities as float64 whose rows sum to 1 exactly."""
    probabilities = np.asarray(probabilities, "float64")
    if probabilities.ndim != 2 or probabilities.shape[0] < 1 or probabilities.shape[1] < 2:
        raise ValueError(
            f"`probabilities` must have shape (images, classes), at least (1, 2), got "
            f"{probabilities.shape}."
        )
    sums = probabilities.sum(axis=1, keepdims=True)
    # NaN fails these comparisons, too.
    if not (probabilities.min() >= 0 and np.abs(sums - 1).max() <= _SUM_TOLERANCE):
        raise ValueError(
            "`probabilities` must not be negative and each row must sum to 1; got values in "
            f"[{probabilities.min():.3g}, {probabilities.max():.3g}] and sums in "
            f"[{sums.min():.3g}, {sums.max():.3g}]. Apply the softmax to logits first."
        )
    return probabilities / sums
