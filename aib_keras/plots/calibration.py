"""Figures of how far to trust a model's probabilities."""

import math

import numpy as np

from aib_keras.plots.style import SERIES, new_figure

_GREY = "0.8"
_COLUMNS = 4


def reliability_figure(models, join=True):
    """Draws reliability diagrams, accuracy against confidence, with one panel per model.

    On the diagonal, a model is right as often as its confidence says. Below it, the model is
    overconfident. The area of a marker shows the share of images in its bin, and the legend the
    expected calibration error (ECE).

    Args:
        models: Dict from the title of a panel to a dict of one or two `Reliability`, whose keys,
            such as `"deterministic"` and `"sampled"`, appear in the legend.
        join: Boolean, whether to join the markers of a model by a line. With few images the line
            is a zigzag that says nothing.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `models` is empty.
    """
    figure, panels = _panels(models, "confidence", "accuracy")
    for axis, series in zip(panels, models.values(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, zorder=0)
        for (name, found), (color, marker, line) in zip(series.items(), SERIES, strict=False):
            full = found.count > 0
            error = 100 * found.expected_calibration_error
            points = found.confidence[full], found.accuracy[full]
            if join:
                axis.plot(*points, line, color=color, linewidth=1)
            area = 4 + 150 * found.count[full] / found.count.sum()
            label = f"{name}, ECE {error:.1f} %"
            axis.scatter(*points, area, color=color, marker=marker, alpha=0.7, label=label)
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.legend(fontsize=7, loc="upper left", markerscale=0.5)
    return figure


def risk_coverage_figure(models):
    """Draws error against coverage, with one panel per model.

    The curves of the other models are grey lines in the background.

    Args:
        models: Dict from the title of a panel to a dict of one or two pairs `(coverage, error)`, as
            `aib_keras.metrics.risk_coverage` returns them. Their keys, such as `"deterministic"`
            and `"sampled"`, appear in the legend.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `models` is empty.
    """
    names = "coverage [% of the images]", "error on these [%]"
    figure, panels = _panels(models, *names, sharey=True)
    for axis, series in zip(panels, models.values(), strict=True):
        for other in models.values():
            for coverage, error in other.values():
                axis.plot(100 * coverage, 100 * error, color=_GREY, linewidth=0.6, zorder=0)
        for (name, curve), (color, _, line) in zip(series.items(), SERIES, strict=False):
            coverage, error = (100 * np.asarray(values) for values in curve)
            axis.plot(coverage, error, line, color=color, linewidth=1.5, label=name)
        axis.set(xlim=(0, 100), ylim=(0, None))
        axis.legend(fontsize=7, loc="upper left")
    return figure


def _panels(models, xlabel, ylabel, **sharing):
    """Returns a figure with one titled panel per model, and the list of panels."""
    if not models:
        raise ValueError("There are no models to draw: `models` is empty.")
    columns = min(_COLUMNS, len(models))
    rows = math.ceil(len(models) / columns)
    figure = new_figure(3 * columns + 0.5, 3 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False, **sharing).ravel()
    for axis in axes[len(models) :]:
        axis.remove()
    for axis, title in zip(axes, models, strict=False):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(xlabel, fontsize=8)
        axis.set_ylabel(ylabel, fontsize=8)
        axis.tick_params(labelsize=7)
    return figure, list(axes[: len(models)])
