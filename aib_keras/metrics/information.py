"""Score of how many bits of each image the latent carries."""

import dataclasses
import math

import numpy as np

from aib_keras.metrics.checks import check_finite, check_labels
from aib_keras.utils.checks import check_integer


def nats_to_bits(nats):
    """Converts nats to bits, by dividing them by ln 2.

    Args:
        nats: Number or array.

    Returns:
        A float64 array of the same shape.
    """
    return np.asarray(nats, "float64") / math.log(2)


@dataclasses.dataclass(frozen=True, eq=False)
class Information:
    """The information in the latent z about N images of C classes.

    Arrays with an axis of length 2 tell two groups of images apart: index 0 holds those that are
    predicted right, index 1 those that are predicted wrong.

    Attributes:
        bits: Float array `(N,)`, the KL divergence of p(z|x) from the prior. Its mean over the
            images is an upper bound on the information that z carries about the image. The value of
            a single image is not.
        mean: Float array `(2,)`, the mean bits of each group. NaN for a group without images.
        class_mean: Float array `(C, 2)`, the same for the images of each true class.
        edges: Float array `(bins + 1,)`, the edges of the histograms' bins, in bits.
        count: Integer array `(C, 2, bins)`, the histograms: the number of images of each class and
            group in each bin.
    """

    bits: np.ndarray
    mean: np.ndarray
    class_mean: np.ndarray
    edges: np.ndarray
    count: np.ndarray


def information(explanation, labels, bins=30):
    """Computes the information in the latent, by class, for right and for wrong predictions.

    Source: the KL divergence of Lai et al., IJCAI 2021, Eq. 10; Alemi et al., Deep Variational
    Information Bottleneck, ICLR 2017.

    Args:
        explanation: Dict with `logits` `(N, C)` and `kl_nats` `(N,)`, the result of
            `model.explain(images)` for a model with a variational encoder.
        labels: Integer array `(N,)`, the true classes in [0, C).
        bins: Integer of at least 1, the number of bins of the histograms.

    Returns:
        An `Information`.

    Raises:
        ValueError: If `explanation` lacks a key, or an argument is not as described.
    """
    bins = check_integer("bins", bins, minimum=1)
    missing = {"logits", "kl_nats"} - set(explanation)
    if missing:
        raise ValueError(
            f"`explanation` lacks {' and '.join(sorted(missing))}; it has "
            f"{', '.join(sorted(explanation))}. Pass what `explain` returns for a model with a "
            "variational encoder, such as zoo.vgg_dvib or zoo.vgg_aib_qt."
        )
    logits = np.asarray(explanation["logits"])
    bits = nats_to_bits(explanation["kl_nats"])
    if logits.ndim != 2 or not len(logits) or bits.shape != logits.shape[:1]:
        raise ValueError(
            "`explanation` must have logits of shape (N, C) and kl_nats of shape (N,) for the same "
            f"images, at least one; got shapes {logits.shape} and {bits.shape}."
        )
    for name in ("logits", "kl_nats"):
        check_finite(name, explanation[name])
    classes = logits.shape[1]
    labels = check_labels(labels, len(logits), classes)
    wrong = (logits.argmax(axis=-1) != labels).astype(int)
    edges = np.histogram_bin_edges(bits, bins)
    # As in NumPy's histograms, the last bin includes its upper edge.
    place = np.clip(np.digitize(bits, edges) - 1, 0, bins - 1)
    count = np.zeros((classes, 2, bins), int)
    np.add.at(count, (labels, wrong, place), 1)
    total = np.zeros((classes, 2))
    np.add.at(total, (labels, wrong), bits)
    number = count.sum(axis=-1)
    return Information(
        bits=bits,
        mean=_divide(total.sum(axis=0), number.sum(axis=0)),
        class_mean=_divide(total, number),
        edges=edges,
        count=count,
    )


def _divide(total, number):
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
