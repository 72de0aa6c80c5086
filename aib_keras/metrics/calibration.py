"""How far to trust a classifier's probabilities: calibration, refusal, images from elsewhere.

A prediction is the class of highest probability, and its confidence is that probability.
`probabilities` are float arrays `(N, C)` with rows that sum to 1, from one deterministic pass or
from `predict_mc`; `labels` are integer arrays `(N,)`. Every function raises a ValueError for others
and counts every image the same.
"""

import dataclasses

import numpy as np

from aib_keras.utils.checks import check_integer

# How far from 1 the sum of a row may be, which half precision needs.
_SUM_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """The numbers of a reliability diagram, M bins of confidence.

    Attributes:
        edges: Float `(M + 1,)`, the ends of the bins, from 0 to 1; a bin has its upper end.
        count: Integer `(M,)`, images in each bin.
        confidence: Float `(M,)` in [0, 1], mean confidence of these; NaN for an empty bin.
        accuracy: Float `(M,)` in [0, 1], the share of them predicted right; NaN for an empty bin.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self):
        """Mean over images of |accuracy - confidence| of their bin, in [0, 1]; 0 is best."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.count * gaps) / self.count.sum())


def negative_log_likelihood(probabilities, labels):
    """Mean of -ln p(label), in nats: 0 at best, ln C for a model that knows nothing.

    A probability of 0 counts as 2.2e-16, so that one image costs 36 nats at most.
    """
    from sklearn.metrics import log_loss

    probabilities, labels = _checked(probabilities, labels)
    return float(log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


def reliability(probabilities, labels, bins=15):
    """Accuracy against confidence in bins of equal width: a `Reliability`.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, and its 15 bins.

    Args:
        probabilities, labels: As above.
        bins: Integer, at least 1.
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
    """Mean distance of confidence from accuracy in bins of equal width, in [0, 1]; 0 is best.

    It depends on the number of bins, is biased upwards where images are few, and says nothing of
    how good the predictions are: a model that always gives the classes' frequencies has 0.

    Source: Guo et al., ICML 2017.
    """
    return reliability(probabilities, labels, bins).expected_calibration_error


def risk_coverage(probabilities, labels):
    """Error against coverage, when the images of lowest confidence are refused.

    Images of the same confidence cannot be told apart: each counts with their mean error, so that
    the curve does not depend on the order of the images.

    Source: El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, 2010.

    Returns:
        (coverage, error): float arrays `(N,)` in (0, 1] and [0, 1]; the last is the error without
        refusal at coverage 1.
    """
    probabilities, labels = _checked(probabilities, labels)
    _, level, count = np.unique(-probabilities.max(axis=1), return_inverse=True, return_counts=True)
    wrong = np.bincount(level, weights=probabilities.argmax(axis=1) != labels)
    accepted = np.arange(1, len(labels) + 1)
    return accepted / len(labels), np.cumsum((wrong / count)[np.sort(level)]) / accepted


def area_under_risk_coverage(probabilities, labels):
    """Mean error over all coverages, in [0, 1]; low is good.

    A model that refuses at random has its error. Two models of different error differ in it even
    if they know equally well when they are wrong.

    Source: Geifman et al., Bias-reduced Uncertainty Estimation, ICLR 2019.
    """
    return float(risk_coverage(probabilities, labels)[1].mean())


def ood_scores(probabilities, kl_nats=None):
    """Scores of single images that should be higher for images of another kind.

    Args:
        probabilities: Float array `(N, C)`, rows that sum to 1.
        kl_nats: Optional float array `(N,)`, what z carries about each image. Alemi et al. (2018)
            take a high rate for a foreign image.

    Returns:
        A dict of float arrays `(N,)`: `maximum`, 1 - the highest probability, in [0, 1);
        `entropy` of the prediction in nats, in [0, ln C]; with `kl_nats` also `kl`, in nats.
    """
    probabilities, _ = _checked(probabilities)
    logarithm = np.log(np.where(probabilities > 0, probabilities, 1.0))
    scores = {
        "maximum": 1 - probabilities.max(axis=1),
        "entropy": -(probabilities * logarithm).sum(axis=1),
    }
    if kl_nats is not None:
        kl_nats = np.asarray(kl_nats, "float64")
        if kl_nats.shape != (len(probabilities),):
            raise ValueError(
                f"Got kl_nats of shape {kl_nats.shape} for {len(probabilities)} images: expected "
                "one number an image."
            )
        scores["kl"] = kl_nats
    return scores


def ood_auroc(inside, outside):
    """How well a score tells images of another data set from those of the model's own.

    The probability that an image from outside has a higher score than one from inside, equal
    scores counting half. 1 separates, 0.5 is chance, and below 0.5 the score is the wrong way
    round. It says which of two data sets an image is of, which may be easier than what a user
    meets.

    Source: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples, ICLR 2017.

    Args:
        inside: Float array `(N,)`, one of the scores of `ood_scores` on the model's own test
            images.
        outside: Float array `(M,)`, that score on images of another data set.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: for scores that are not finite or not in one axis, or where there is none.
    """
    from sklearn.metrics import roc_auc_score

    scores = [np.asarray(values, "float64") for values in (inside, outside)]
    for name, values in zip(("inside", "outside"), scores, strict=True):
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ValueError(
                f"`{name}` must be finite scores, one for each image, shape (N,) with N of at "
                f"least 1; got shape {values.shape}"
                + (", not all finite." if not np.isfinite(values).all() else ".")
            )
    is_outside = np.repeat([0, 1], [len(values) for values in scores])
    return float(roc_auc_score(is_outside, np.concatenate(scores)))


def _checked(probabilities, labels=None):
    """Probabilities as float64 whose rows sum to 1 exactly, and integer labels."""
    probabilities = np.asarray(probabilities, "float64")
    if probabilities.ndim != 2 or probabilities.shape[0] < 1 or probabilities.shape[1] < 2:
        raise ValueError(
            f"`probabilities` must have shape (images, classes), at least (1, 2), got "
            f"{probabilities.shape}."
        )
    sums = probabilities.sum(axis=1, keepdims=True)
    # Written so that NaN fails, too.
    if not (probabilities.min() >= 0 and np.abs(sums - 1).max() <= _SUM_TOLERANCE):
        raise ValueError(
            "`probabilities` must not be negative and each row must sum to 1; got values in "
            f"[{probabilities.min():.3g}, {probabilities.max():.3g}] and sums in "
            f"[{sums.min():.3g}, {sums.max():.3g}]. Of logits take the softmax first."
        )
    if labels is None:
        return probabilities / sums, None
    labels = np.asarray(labels)
    if labels.shape != probabilities.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be integers, one for each of the {len(probabilities)} rows of "
            f"`probabilities`; got {labels.dtype} of shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(
            f"`labels` must be in [0, {probabilities.shape[1]}), a column of `probabilities` each; "
            f"they are in [{labels.min()}, {labels.max()}]."
        )
    return probabilities / sums, labels
