"""Pictures of how far to trust a model, of what it carries, and of what a setting does to it."""

import math

import numpy as np

from aib_keras.metrics.information import nats_to_bits

# Of the colours of Okabe and Ito, which colour-blind readers tell apart; second, marker and line.
_SERIES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"))
_GREY = "0.8"
_COLUMNS = 4


def reliability_figure(models):
    """Reliability diagrams, a panel a model: accuracy against confidence, with the ECE.

    On the diagonal a model is right as often as it says; below it, it says too much. The area of a
    marker is the share of the images in its bin.

    Args:
        models: A dict from a title to a dict of one or two `Reliability`, by what they are of,
            such as "deterministic" and "sampled".

    Returns:
        A matplotlib figure.
    """
    figure, panels = _panels(models, "confidence", "accuracy")
    for axis, series in zip(panels, models.values(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, zorder=0)
        for (name, found), (color, marker, line) in zip(series.items(), _SERIES, strict=False):
            full = found.count > 0
            error = 100 * found.expected_calibration_error
            points = found.confidence[full], found.accuracy[full]
            axis.plot(*points, line, color=color, linewidth=1)
            area = 4 + 150 * found.count[full] / found.count.sum()
            label = f"{name}, ECE {error:.1f} %"
            axis.scatter(*points, area, color=color, marker=marker, alpha=0.7, label=label)
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.legend(fontsize=7, loc="upper left", markerscale=0.5)
    return figure


def risk_coverage_figure(models):
    """Error against coverage, a panel a model; the other models are grey lines behind.

    Args:
        models: A dict from a title to a dict of one or two `(coverage, error)`, shares in [0, 1] as
            `risk_coverage` returns them, by what they are of.

    Returns:
        A matplotlib figure.
    """
    names = "coverage [% of the images]", "error on these [%]"
    figure, panels = _panels(models, *names, sharey=True)
    for axis, series in zip(panels, models.values(), strict=True):
        for other in models.values():
            for coverage, error in other.values():
                axis.plot(100 * coverage, 100 * error, color=_GREY, linewidth=0.6, zorder=0)
        for (name, curve), (color, _, line) in zip(series.items(), _SERIES, strict=False):
            coverage, error = (100 * np.asarray(values) for values in curve)
            axis.plot(coverage, error, line, color=color, linewidth=1.5, label=name)
        axis.set(xlim=(0, 100), ylim=(0, None))
        axis.legend(fontsize=7, loc="upper left")
    return figure


def information_figure(edges, count, mean, class_names, title):
    """Histograms of the bits that z carries: images predicted right and wrong, all and by class.

    Args:
        edges, count, mean: As in `Information`.
        class_names: Sequence of C strings.
        title: String.

    Returns:
        A matplotlib figure: above the share of all right and of all wrong images in each bin, below
        for each class the share of its images, colours on one scale.
    """
    from matplotlib.figure import Figure

    edges, count = np.asarray(edges), np.asarray(count)
    classes = len(count)
    height = min(0.2 * classes + 1, 12)
    figure = Figure(figsize=(9, 2.8 + height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2.8, height))
    above.suptitle(title, fontsize=10)
    axis = above.subplots()
    groups = ("predicted right", "predicted wrong")
    for index, (group, (color, _, line)) in enumerate(zip(groups, _SERIES, strict=True)):
        number = count[:, index].sum()
        if number:
            share = 100 * count[:, index].sum(axis=0) / number
            label = f"{group}: {number:,} images, mean {mean[index]:.2f} bits"
            axis.stairs(share, edges, color=color, linestyle=line, linewidth=1.5, label=label)
            axis.axvline(mean[index], color=color, linestyle=":", linewidth=1)
    axis.set(xlabel="information in z [bits]", ylabel="share of these images [%]")
    axis.legend(fontsize=8)
    of_class = 100 * count / np.maximum(count.sum(axis=(1, 2), keepdims=True), 1)
    panels = below.subplots(1, 2, sharey=True)
    for index, (axis, group) in enumerate(zip(panels, groups, strict=True)):
        drawn = axis.pcolormesh(
            edges, np.arange(classes + 1) - 0.5, of_class[:, index], vmin=0, vmax=of_class.max()
        )
        axis.set_title(group, fontsize=9)
        axis.set(xlabel="information in z [bits]", ylim=(classes - 0.5, -0.5))
    if classes <= 60:
        panels[0].set_yticks(range(classes), class_names, fontsize=7)
    else:
        panels[0].set_ylabel("class", fontsize=8)
    below.colorbar(drawn, ax=list(panels), label="share of the class's images [%]")
    return figure


def ablation_figure(rows, title, best=None):
    """Error against each setting that was varied alone, and against the rate over beta.

    Args:
        rows: Dicts, one a training: `setting` and `value`, what was varied and to what; `error`, a
            share in [0, 1]; optional `error_sampled`, that of `predict_mc`; `kl_nats`, the mean
            over the images, needed for beta only. Trainings of one value are averaged.
        title: String; says what the errors are of.
        best: Optional dict from a setting to the least and the largest of the values that are said
            to be best, which are marked.

    Returns:
        A matplotlib figure: a panel for each setting, and for beta one more with the mean bits in
        z across and the error upwards, a point for each beta.
    """
    from matplotlib.figure import Figure

    settings = list(dict.fromkeys(row["setting"] for row in rows))
    count = len(settings) + ("beta" in settings)
    figure = Figure(figsize=(3.4 * count, 3.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    # Each has a scale of its own: where a large beta leaves nothing in z, the others would be flat.
    panels = figure.subplots(1, count, squeeze=False)[0]
    panels[0].set_ylabel("error [%]")
    for axis, setting in zip(panels, settings, strict=False):
        chosen = [row for row in rows if row["setting"] == setting]
        _draw_setting(axis, chosen, setting, (best or {}).get(setting))
    if "beta" in settings:
        _draw_rate(panels[-1], [row for row in rows if row["setting"] == "beta"])
    return figure


def _draw_setting(axis, rows, setting, best):
    # Evenly spaced, because they span decades and beta may be 0.
    values = sorted({row["value"] for row in rows})
    marked = [i for i, value in enumerate(values) if best and best[0] <= value <= best[1]]
    if marked:
        span = marked[0] - 0.4, marked[-1] + 0.4
        axis.axvspan(*span, color="0.92", zorder=0, label="the paper's best")
    names = {"error": "deterministic", "error_sampled": "sampled"}
    for (key, name), (color, marker, line) in zip(names.items(), _SERIES, strict=True):
        points = [(values.index(row["value"]), row) for row in rows if row.get(key) is not None]
        if not points:
            continue
        places = sorted({place for place, _ in points})
        means = [np.mean([100 * row[key] for at, row in points if at == p]) for p in places]
        axis.plot(places, means, line, color=color, linewidth=1, label=name)
        errors = [100 * row[key] for _, row in points]
        axis.scatter([place for place, _ in points], errors, 18, color=color, marker=marker)
    axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axis.set(xlabel=setting, xlim=(-0.5, len(values) - 0.5))
    axis.legend(fontsize=7)


def _draw_rate(axis, rows):
    points = []
    for value in sorted({row["value"] for row in rows}):
        chosen = [row for row in rows if row["value"] == value]
        bits = nats_to_bits(np.mean([row["kl_nats"] for row in chosen]))
        points.append((float(bits), 100 * np.mean([row["error"] for row in chosen]), value))
    color, marker, line = _SERIES[0]
    bits, errors, values = zip(*points, strict=True)
    axis.plot(bits, errors, line, color=color, marker=marker, markersize=4, linewidth=1)
    for index, (x, y, value) in enumerate(points):
        # In turn above and below, because small betas lie close together.
        away = (4, -11 if index % 2 else 5)
        axis.annotate(f"β = {value:g}", (x, y), xytext=away, textcoords="offset points", fontsize=8)
    axis.margins(y=0.12)
    # Linear up to one bit: a z that carries nothing has to have a place.
    axis.set_xscale("symlog", linthresh=1)
    axis.set(xlabel="rate: mean information in z [bits]", xlim=(0, 6 * max(*bits, 1)))
    axis.grid(alpha=0.3)


def _panels(models, xlabel, ylabel, **sharing):
    """A figure with a titled panel for each model; the panels in a list."""
    from matplotlib.figure import Figure

    if not models:
        raise ValueError("There is no model to draw.")
    columns = min(_COLUMNS, len(models))
    rows = math.ceil(len(models) / columns)
    figure = Figure(figsize=(3 * columns + 0.5, 3 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **sharing).ravel()
    for axis in axes[len(models) :]:
        axis.remove()
    for axis, title in zip(axes, models, strict=False):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(xlabel, fontsize=8)
        axis.set_ylabel(ylabel, fontsize=8)
        axis.tick_params(labelsize=7)
    return figure, list(axes[: len(models)])
