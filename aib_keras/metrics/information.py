"""How many bits of each image the latent carries, by class, for right and wrong predictions."""

import dataclasses
import math

import numpy as np

from aib_keras.utils.checks import check_integer


def nats_to_bits(nats):
    """Nats in bits: divided by ln 2."""
    return np.asarray(nats, "float64") / math.log(2)


@dataclasses.dataclass(frozen=True, eq=False)
class Information:
    """The information in z about N images of C classes. Groups: 0 is predicted right, 1 wrong.

    Attributes:
        bits: Float `(N,)`, KL of p(z|x) to the prior. An upper bound on what z tells of x on the
            mean over the images, not for each of them.
        mean: Float `(2,)`, mean bits of the groups; NaN for a group without images.
        class_mean: Float `(C, 2)`, the same for each true class.
        edges: Float `(bins + 1,)`, the ends of the histograms' bins, in bits.
        count: Integer `(C, 2, bins)`, the histograms: images of each class and group.
    """

    bits: np.ndarray
    mean: np.ndarray
    class_mean: np.ndarray
    edges: np.ndarray
    count: np.ndarray


def information(explanation, labels, bins=30):
    """The information in z, image by image and by class, for right and for wrong predictions.

    Source: the KL of Eq. 10 of Lai et al., IJCAI 2021; Alemi et al., ICLR 2017.

    Args:
        explanation: A dict with `logits` `(N, C)` and `kl_nats` `(N,)`: what `model.information`
            returned, or `model.explain` of a model with attention.
        labels: Integer array `(N,)`, the true classes in [0, C).
        bins: Integer, bins of the histograms, at least 1.

    Returns:
        An `Information`.

    Raises:
        ValueError: if something is missing, of the wrong shape or out of its range.
    """
    bins = check_integer("bins", bins, minimum=1)
    missing = {"logits", "kl_nats"} - set(explanation)
    if missing:
        raise ValueError(
            f"`explanation` lacks {' and '.join(sorted(missing))}; it has "
            f"{', '.join(sorted(explanation))}. Only models with a variational encoder, such as "
            "zoo.vgg_dvib and zoo.vgg_aib_qt, know their information: use their `information`."
        )
    logits, labels = np.asarray(explanation["logits"]), np.asarray(labels)
    bits = nats_to_bits(explanation["kl_nats"])
    classes = logits.shape[-1]
    if not len(logits) or not bits.shape == labels.shape == logits.shape[:1]:
        raise ValueError(
            f"Expected a row of logits, a kl_nats and a label for each image; got shapes "
            f"{logits.shape}, {bits.shape} and {labels.shape}."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`labels` must be integers in [0, {classes}); got {labels.dtype} in "
            f"[{labels.min()}, {labels.max()}]."
        )
    if not np.isfinite(bits).all():
        raise ValueError("`kl_nats` must be finite numbers; the model has diverged.")
    wrong = (logits.argmax(axis=-1) != labels).astype(int)
    edges = np.histogram_bin_edges(bits, bins)
    # The bin of an image: the last one has its upper end, as numpy's histograms have it.
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
