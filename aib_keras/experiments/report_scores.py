"""The part of `report.html` on whether the maps can be believed."""

import html
import sys

import numpy as np
from scipy import stats

from aib_keras import explain, metrics

# Each costs a prediction per point, map and score.
MOST_IMAGES = 40
# Of the curves of insertion and deletion: each needs a prediction, per image and map.
_STEPS = 6
_OWN = "this model's map"
# Each score, and whether higher is better.
_SCORES = {metrics.insertion: True, metrics.deletion: False}


def measure(model, images, maps, classes, verbose):
    """Scores the maps of a model and baselines on some images.

    Args:
        model: `ImageClassifier`.
        images: uint8 array `(N, H, W, 3)`.
        maps: Array `(N, h, w, 1)`, the model's own maps.
        classes: Integers `(N,)`, the classes that the model predicts.
        verbose: As in `report.write_report`.

    Returns:
        A dict from the name of a map to a dict from the name of a score to the areas under the
        curves of the images.
    """
    # Made one after the other: TensorFlow warns of many new functions in a row.
    candidates = {
        _OWN: lambda: maps,
        "Grad-CAM": lambda: explain.grad_cam(model, images),
        "a bump in the middle": lambda: explain.gaussian_map(maps.shape),
        "a random order": lambda: explain.uniform_map(maps.shape),
    }
    found, count = {}, len(candidates) * len(_SCORES)
    for name, make in candidates.items():
        made, found[name] = make(), {}
        for score in _SCORES:
            if verbose:
                number = 1 + sum(map(len, found.values()))
                print(f"Report: {score.__name__} of {name} ({number} of {count}).", flush=True)
            measured = score(
                model,
                images,
                made,
                # Of a small image, a map can have fewer cells.
                steps=min(_STEPS, maps[0].size),
                class_index=classes,
                # In a log file the bar would be many lines.
                verbose=int(verbose and sys.stdout.isatty()),
            )
            found[name][score.__name__] = measured["auc_per_image"]
    return found


def means(areas):
    """Returns the mean over the images of what `measure` returns."""
    return {
        name: {score: float(each.mean()) for score, each in of_map.items()}
        for name, of_map in areas.items()
    }


def differences(areas):
    """Returns how much the model's map scores above each baseline, with intervals.

    The intervals are those of paired t-tests, so wide that all of them hold together with 95 %
    (Bonferroni). A bootstrap would be too narrow for few images.

    Args:
        areas: As `measure` returns it, of at least two images.

    Returns:
        A dict from the name of a baseline to a dict from the name of a score to the mean
        difference and the ends of its interval.
    """
    found = {}
    comparisons = sum(len(of_map) for name, of_map in areas.items() if name != _OWN)
    for name, of_map in areas.items():
        if name == _OWN:
            continue
        found[name] = {}
        for score, baseline in of_map.items():
            paired = areas[_OWN][score] - baseline
            mean, count = paired.mean(), len(paired)
            half = (
                stats.t.ppf(1 - 0.025 / comparisons, count - 1)
                * paired.std(ddof=1)
                / np.sqrt(count)
            )
            found[name][score] = [float(mean), float(mean - half), float(mean + half)]
    return found


def section(areas):
    """Returns the HTML of the scores that `measure` has returned."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{values['insertion']:.2f}</td>"
        f"<td>{values['deletion']:.2f}</td></tr>"
        for name, values in means(areas).items()
    )
    count = len(areas[_OWN]["insertion"])
    compared = "<p>With one image, nothing can be said about differences.</p>"
    if count > 1:
        lines = "".join(f"<li>{_sentence(*item)}</li>" for item in differences(areas).items())
        compared = (
            f"<p>What these {count} images can tell apart:</p><ul>{lines}</ul><p><small>The "
            "intervals are those of paired t-tests over the images, so wide that all of them hold "
            "together with 95 %. They do not say what another training would change.</small></p>"
        )
    return (
        "<h2>Can the maps be believed?</h2>"
        "<p><b>Insertion</b>, higher is better: how fast the probability of the predicted class "
        "comes back in a blurred image when the highest cells of the map are restored first. "
        "<b>Deletion</b>, lower is better: how fast it goes when they are removed first. Both are "
        "areas under that curve, from 0 to 1.</p>"
        f"<table><tr><th>map</th><th>insertion</th><th>deletion</th></tr>{rows}</table>{compared}"
        f"<p><small>Of {MOST_IMAGES} images at most, of the classes in turn. A map that is no "
        "better than a random order says nothing about what the model uses. A bump in the middle "
        "looks at no image: where it is better, the objects are in the middle. The page Scores of "
        "the documentation (docs/scores.md) says how each score can mislead.</small></p>"
    )


def _sentence(name, found):
    """Returns what can be said about the model's map beside a baseline."""
    parts = []
    for score, higher_is_better in _SCORES.items():
        difference, low, high = found[score.__name__]
        interval = f"difference {difference:+.3f}, interval {low:+.3f} to {high:+.3f}"
        verdict = "the two <b>cannot be told apart</b>"
        if low > 0 or high < 0:
            better = (difference > 0) == higher_is_better
            verdict = f"this model's map is <b>{'better' if better else 'worse'}</b>"
        parts.append(f"{verdict} in {score.__name__} ({interval})")
    text = f"Beside {html.escape(name)}, {'; '.join(parts)}."
    return text.replace("-0.", "−0.")
