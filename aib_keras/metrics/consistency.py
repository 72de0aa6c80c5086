"""Whether a model's map stays the same when its image is modified (Table 2 of the paper)."""

import dataclasses

import keras
import numpy as np

from aib_keras.utils.checks import check_integer

# The paper names none; 0.85, 0.9 and 0.95, which its authors' scripts list, are among them.
THRESHOLDS = tuple(percent / 100 for percent in range(50, 101))

_RESAMPLES = 2000
_TAILS = (0.025, 0.975)


@dataclasses.dataclass(frozen=True, eq=False)
class Consistency:
    """What `consistency` found.

    Attributes:
        similarities: float64 `(N,)`, cosine of the maps of each image and its perturbation.
        unchanged: Boolean `(N,)`, whether the predicted class is the same for both. The score rests
            on these images.
        thresholds: float64 `(T,)`.
        scores: float64 `(T,)` in [0, 1], of the images in `unchanged` the share whose similarity is
            above the threshold; NaN if there is no such image.
        intervals: float64 `(T, 2)`, 95 % bootstrap interval of each score. It has no width where a
            score is 0 or 1, which does not make that score certain.
    """

    similarities: np.ndarray
    unchanged: np.ndarray
    thresholds: np.ndarray
    scores: np.ndarray
    intervals: np.ndarray

    @property
    def count(self):
        """How many images the scores rest on: those whose predicted class did not change."""
        return int(self.unchanged.sum())

    def at(self, threshold):
        """The score at one of the thresholds, and its interval (low, high).

        Raises:
            ValueError: if it is not one of the thresholds.
        """
        (found,) = np.nonzero(self.thresholds == threshold)
        if not len(found):
            raise ValueError(
                f"There is no score at {threshold!r}: expected one of {self.thresholds.tolist()}. "
                "Give other `thresholds` to `consistency`."
            )
        return float(self.scores[found[0]]), tuple(self.intervals[found[0]].tolist())


def consistency(
    model,
    images,
    perturbation,
    *,
    original=None,
    map_name="attention",
    thresholds=THRESHOLDS,
    batch_size=256,
    seed=0,
    verbose=1,
):
    """The paper's interpretability score of one perturbation.

    Of the images whose predicted class does not change under the perturbation, the share whose map
    stays consistent: the cosine similarity of the map of the image and that of its perturbation,
    both flattened, is above a threshold.

    The maps are normalised to unit length and nothing is subtracted from them, as the paper has it.
    So the score can mislead:
    - Maps whose values are all positive have a high cosine, whatever they show: two maps in (0, 1)
      of different images are often above 0.9. A map that is the same everywhere, for instance a
      quantised one of which a single anchor is in use, scores 1. Compare with `map_similarity` of
      different images' maps, which tells what a map that ignores its image would get.
    - It rests on the images whose prediction survives, which differ between models. See `count`.
    - A map that should change, because the window hides the object, is counted as inconsistent.

    Source: Lai et al., IJCAI 2021, Table 2.

    Args:
        model: A model of the zoo with a map, or any object with `explain(images, batch_size=...)`
            that returns a dict with `logits` `(B, C)` and a map `(B, ...)`.
        images: uint8 array `(N, H, W, 3)`.
        perturbation: One of `aib_keras.explain.perturbations`, or a function of
            (images, first=index of the first of them) that returns modified images. It gets one
            batch at a time, and no more than that is kept.
        original: Optional dict, what `model.explain(images)` returned. It saves half of the time
            where several perturbations are scored.
        map_name: Which map of `explain` is compared, such as "attention_quantized".
        thresholds: Numbers in [-1, 1]. By default 0.5, 0.51, ..., 1.0.
        batch_size: Integer, images in a forward pass. Each has a cost of its own: large batches
            are faster for small images.
        seed: Non-negative integer, of the bootstrap.
        verbose: 1 shows a progress bar, 0 does not.

    Returns:
        A `Consistency`.

    Raises:
        ValueError: if the model has no such map, `original` is not of these images, there is no
            image, or a threshold is not in [-1, 1].
    """
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    thresholds = np.array(thresholds, np.float64)
    if thresholds.ndim != 1 or not len(thresholds) or not (np.abs(thresholds) <= 1).all():
        raise ValueError(
            f"`thresholds` must be numbers in [-1, 1], as cosines are; got {thresholds.tolist()}."
        )
    if not len(images):
        raise ValueError("There are no images: the score is a share of some.")
    if original is None:
        # All at once: each call of `explain` has a cost of its own, and nothing is modified yet.
        original = model.explain(images, batch_size=batch_size)
    _check_explanation(original, map_name, len(images))
    similarities, unchanged = np.empty(len(images)), np.empty(len(images), bool)
    bar = keras.utils.Progbar(len(images), verbose=verbose, unit_name="image")
    for start in range(0, len(images), batch_size):
        part = slice(start, min(start + batch_size, len(images)))
        before = {name: original[name][part] for name in ("logits", map_name)}
        after = model.explain(perturbation(images[part], first=start), batch_size=batch_size)
        similarities[part] = map_similarity(before[map_name], after[map_name])
        unchanged[part] = before["logits"].argmax(axis=-1) == after["logits"].argmax(axis=-1)
        bar.update(part.stop)
    scores, intervals = _scores(similarities[unchanged], thresholds, seed)
    return Consistency(similarities, unchanged, thresholds, scores, intervals)


def map_similarity(first, second):
    """Cosine similarity of the maps in two batches, pair by pair.

    Maps that are equal have similarity 1, also where all their values are 0; a map of zeros and
    another have 0.

    Args:
        first, second: Arrays `(N, ...)` of the same shape.

    Returns:
        float64 `(N,)` in [-1, 1].

    Raises:
        ValueError: if the shapes differ.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"The maps have shapes {np.shape(first)} and {np.shape(second)}: expected the same."
        )
    first, second = (
        np.asarray(maps, np.float64).reshape(len(maps), -1) for maps in (first, second)
    )
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return np.where((first == second).all(axis=1), 1.0, np.clip(cosines, -1, 1))


def _scores(similarities, thresholds, seed):
    count = len(similarities)
    if not count:
        return np.full(len(thresholds), np.nan), np.full((len(thresholds), 2), np.nan)
    scores = (similarities[:, None] > thresholds).mean(axis=0)
    # How many of `count` images drawn with replacement are above a threshold is binomial.
    rng = np.random.default_rng(seed)
    resampled = rng.binomial(count, scores, size=(_RESAMPLES, len(thresholds))) / count
    return scores, np.quantile(resampled, _TAILS, axis=0).T


def _check_explanation(explanation, map_name, count):
    if map_name not in explanation:
        raise ValueError(
            f"The explanation has no {map_name!r}; it has {', '.join(sorted(explanation))}. Give "
            "the name of a map in it as `map_name`."
        )
    for name in ("logits", map_name):
        if len(explanation[name]) != count:
            raise ValueError(
                f"`original` must be what `model.explain` returned for these {count} images; its "
                f"{name} are of {len(explanation[name])}."
            )
