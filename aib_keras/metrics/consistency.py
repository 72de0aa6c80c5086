"""Score of whether a model's map stays the same when its image is perturbed (Table 2)."""

import dataclasses

import keras
import numpy as np

from aib_keras.metrics.checks import check_finite
from aib_keras.metrics.intervals import wilson_interval
from aib_keras.models import image_checks
from aib_keras.models.through_predict import predict_undistributed
from aib_keras.utils import compiled
from aib_keras.utils.batches import images_of_batches, is_dataset
from aib_keras.utils.checks import check_integer
from aib_keras.utils.maps import map_similarity
from aib_keras.utils.optional import require
from aib_keras.utils.suggestions import did_you_mean

# The paper does not state its threshold. Its authors' scripts list 0.85, 0.9 and 0.95.
THRESHOLDS = tuple(percent / 100 for percent in range(50, 101))

_NAME = "`consistency`"
_NO_IMAGES = "There are no images: the score is a share of at least one image."
# Of maps that a function made.
_GIVEN = "maps"


@dataclasses.dataclass(frozen=True, eq=False)
class Consistency:
    """The result of `consistency` for N images and T thresholds.

    Attributes:
        similarities: Float64 array `(N,)`, the cosine similarity of each image's map and that of
            the perturbed image.
        unchanged: Boolean array `(N,)`, whether the predicted class is the same for both. Only
            these images count in the scores.
        thresholds: Float64 array `(T,)`.
        scores: Float64 array `(T,)` in [0, 1]: among the images of `unchanged`, the share whose
            similarity is above the threshold. NaN if there is no such image.
        intervals: Float64 array `(T, 2)`, the lower and upper end of the 95 % Wilson interval of
            each score. NaN if there is no score.
    """

    similarities: np.ndarray
    unchanged: np.ndarray
    thresholds: np.ndarray
    scores: np.ndarray
    intervals: np.ndarray

    @property
    def count(self):
        """The number of images whose predicted class did not change."""
        return int(self.unchanged.sum())

    def at(self, threshold):
        """Returns the score at a threshold, and its interval.

        Args:
            threshold: One of `thresholds`.

        Returns:
            A tuple `(score, (low, high))` of floats.

        Raises:
            ValueError: If `threshold` is not one of `thresholds`.
        """
        (found,) = np.nonzero(self.thresholds == threshold)
        if not len(found):
            raise ValueError(
                f"There is no score at {threshold!r}: expected one of {self.thresholds.tolist()}. "
                "Pass other `thresholds` to `consistency`."
            )
        return float(self.scores[found[0]]), tuple(self.intervals[found[0]].tolist())


def consistency(
    model,
    images,
    perturbation,
    *,
    original=None,
    map_name="attention",
    maps=None,
    thresholds=THRESHOLDS,
    batch_size=256,
    verbose=1,
):
    """Computes the paper's interpretability score for one perturbation.

    Among the images whose predicted class survives the perturbation, the score is the share whose
    map stays consistent. A map is consistent if the cosine similarity of the maps before and after
    the perturbation, both flattened, is above a threshold.

    As in the paper, maps are scaled to unit length, but their mean is not subtracted. The score can
    therefore mislead:

    - Maps of positive values have a high cosine similarity, whatever they show. The similarity of
      two maps in (0, 1) of different images often exceeds 0.9. A map that is the same everywhere
      scores 1, for example a quantised one that uses a single anchor. Compare the score with the
      `map_similarity` of different images' maps, which is what a map that ignores its image scores.
    - The images whose prediction survives differ between models. See `Consistency.count`.
    - A map that should change, because the perturbation hides the object, counts as inconsistent.

    Source: Lai et al., IJCAI 2021, Table 2.

    Args:
        model: Model of the zoo that has a map; any object with a method
            `explain(images, batch_size)` that returns a dict with `logits` `(B, C)` and a map
            `(B, ...)`; or, with `maps`, any Keras model from images to logits or probabilities.
        images: uint8 array `(N, H, W, 3)`, or batches of such: a `keras.utils.PyDataset`,
            `tf.data.Dataset` or `DataLoader` of images, or of images and labels. A model that
            takes other images needs a layer such as `keras.layers.Rescaling` in front.
        perturbation: One of the perturbations of `aib_keras.explain`, or a function
            `perturbation(images, first)` that returns perturbed images, where `first` is the index
            of `images[0]` in the data set. It is called once per batch, so only one batch of
            perturbed images is in memory.
        original: Optional dict, the result of `model.explain(images)`; with `maps`, a dict with
            the `logits` and `maps` of the images. Passing it halves the time if several
            perturbations are scored. Not for data sets.
        map_name: String, the key of the map in the result of `explain`, such as
            `"attention_quantized"`. Not used with `maps`.
        maps: Optional function `maps(model, images, batch_size=...)` that returns maps `(B, ...)`,
            such as `aib_keras.explain.grad_cam`. By default the maps are those of `model.explain`.
        thresholds: Sequence of numbers in [-1, 1]. Defaults to 0.5, 0.51, ..., 1.0.
        batch_size: Integer, the number of images per forward pass. Each pass has a fixed cost, so
            large batches are faster for small images.
        verbose: 0 or 1. With 1, prints a progress bar.

    Returns:
        A `Consistency`.

    Raises:
        ImportError: If SciPy is not installed.
        TypeError: If the model has no method `explain`, and there are no `maps`.
        ValueError: If the model has no such map, a map is not finite, `original` does not belong to
            `images`, there are no images, or a threshold is not in [-1, 1].
    """
    # Rather now than after the maps of all images.
    require("scipy.stats", _NAME, "train")
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    thresholds = np.array(thresholds, np.float64)
    if thresholds.ndim != 1 or not len(thresholds) or not (np.abs(thresholds) <= 1).all():
        raise ValueError(
            f"`thresholds` must be numbers in [-1, 1], as cosines are, got {thresholds.tolist()}."
        )
    if maps is not None:
        map_name = _GIVEN
    count = None if is_dataset(images) else len(images)
    if count == 0:
        raise ValueError(_NO_IMAGES)
    batches = _explained_batches(model, images, original, maps, map_name, batch_size)
    similarities, unchanged, seen = [], [], 0
    bar = keras.utils.Progbar(count, verbose=verbose, unit_name="image")
    # `maps` would compile its functions again for each batch.
    with compiled.shared():
        for batch, before in batches:
            after = _explained(model, perturbation(batch, first=seen), maps, batch_size)
            pair = [check_finite(map_name, each[map_name], first=seen) for each in (before, after)]
            similarities.append(map_similarity(*pair))
            unchanged.append(before["logits"].argmax(axis=-1) == after["logits"].argmax(axis=-1))
            seen += len(batch)
            bar.update(seen)
    if not seen:
        raise ValueError(_NO_IMAGES)
    if count is None:
        bar.update(seen, finalize=True)
    similarities, unchanged = np.concatenate(similarities), np.concatenate(unchanged)
    counts = (similarities[unchanged][:, None] > thresholds).sum(axis=0)
    scores, intervals = _scores(counts, int(unchanged.sum()))
    return Consistency(similarities, unchanged, thresholds, scores, intervals)


def _explained_batches(model, images, original, maps, map_name, batch_size):
    """Yields the batches of images, and what is known of each before it is perturbed."""
    if is_dataset(images):
        if original is not None:
            raise ValueError(
                "`original` is for an array of images. Leave it out: a data set is explained batch "
                "by batch."
            )
        for batch in images_of_batches(images):
            before = _explained(model, batch, maps, batch_size)
            _check_explanation(before, map_name, len(batch))
            yield batch, before
        return
    if original is None:
        # All images in one call, because each call of `explain` has a fixed cost.
        original = _explained(model, images, maps, batch_size)
    _check_explanation(original, map_name, len(images))
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        yield images[part], {name: original[name][part] for name in ("logits", map_name)}


def _explained(model, images, maps, batch_size):
    """Returns a dict with the logits or probabilities of images, and their maps."""
    if maps is not None:
        # A list would be several inputs.
        images = image_checks.as_array(images)
        predicted = predict_undistributed(model, images, batch_size)
        return {"logits": predicted, _GIVEN: maps(model, images, batch_size=batch_size)}
    if not hasattr(model, "explain"):
        raise TypeError(
            f"{type(model).__name__} has no method `explain` that returns maps. Pass a function "
            "that makes some as `maps`, such as aib_keras.explain.grad_cam."
        )
    return model.explain(images, batch_size=batch_size)


def _scores(counts, total):
    """Returns the shares `counts / total`, and their intervals."""
    if not total:
        return np.full(len(counts), np.nan), np.full((len(counts), 2), np.nan)
    intervals = [wilson_interval(count, total, _NAME) for count in counts]
    return counts / total, np.array(intervals)


def _check_explanation(explanation, map_name, count):
    for name in ("logits", map_name):
        if name not in explanation:
            raise ValueError(
                f"The explanation has no {name!r}; it has {', '.join(sorted(explanation))}. Pass "
                "the name of one of its maps as `map_name`, or use a model that has this map."
                f"{did_you_mean(name, explanation)}"
            )
        if len(explanation[name]) != count:
            raise ValueError(
                f"`original` must be the result of `model.explain` for these {count} images, but "
                f"its {name!r} has {len(explanation[name])} rows."
            )
