"""Figure of what a setting does to a model."""

import numpy as np

from aib_keras.metrics.information import nats_to_bits
from aib_keras.plots.style import SERIES, new_figure


def ablation_figure(rows, title, best=None):
    """Draws the error against each setting and, for beta, also against the information in z.

    There is one panel per setting. If beta was varied, one more panel shows the error against the
    mean information in the latent, with one point per beta. Runs of the same value are
    averaged.

    Args:
        rows: List of dicts, one per training, with the keys:

            - `setting` and `value`: The name of the setting that was varied, and its value.
            - `error`: Number in [0, 1], the error of the deterministic prediction.
            - `error_sampled`: Optional number in [0, 1], the error of `predict_mc`.
            - `kl_nats`: Number, the mean over the images. Only needed for beta.
        title: String. It should say what the errors are measured on.
        best: Optional dict from a setting to a pair: the smallest and the largest of the values
            that are reported as best. They are marked.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `rows` is empty.
    """
    if not rows:
        raise ValueError("There are no runs to draw: `rows` is empty.")
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    count = len(settings) + ("beta" in settings)
    figure = new_figure(3.4 * count, 3.4)
    figure.suptitle(title, fontsize=10)
    # Not sharey: a large beta can empty z, and its error would flatten the other panels.
    panels = figure.subplots(1, count, squeeze=False)[0]
    panels[0].set_ylabel("error [%]")
    for axis, setting in zip(panels, settings, strict=False):
        chosen = [row for row in rows if row["setting"] == setting]
        _draw_setting(axis, chosen, setting, (best or {}).get(setting))
    if "beta" in settings:
        _draw_rate(panels[-1], [row for row in rows if row["setting"] == "beta"])
    return figure


def _draw_setting(axis, rows, setting, best):
    # Evenly spaced, because the values span decades and beta may be 0.
    values = sorted({row["value"] for row in rows})
    marked = [i for i, value in enumerate(values) if best and best[0] <= value <= best[1]]
    if marked:
        span = marked[0] - 0.4, marked[-1] + 0.4
        axis.axvspan(*span, color="0.92", zorder=0, label="the paper's best")
    names = {"error": "deterministic", "error_sampled": "sampled"}
    for (key, name), (color, marker, line) in zip(names.items(), SERIES, strict=True):
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
    color, marker, line = SERIES[0]
    bits, errors, values = zip(*points, strict=True)
    axis.plot(bits, errors, line, color=color, marker=marker, markersize=4, linewidth=1)
    for index, (x, y, value) in enumerate(points):
        # Alternately above and below, because small betas lie close together.
        away = (4, -11 if index % 2 else 5)
        axis.annotate(f"β = {value:g}", (x, y), xytext=away, textcoords="offset points", fontsize=8)
    axis.margins(y=0.12)
    # Linear up to one bit, so that a rate of 0 has a place.
    axis.set_xscale("symlog", linthresh=1)
    axis.set(xlabel="rate: mean information in z [bits]", xlim=(0, 6 * max(*bits, 1)))
    axis.grid(alpha=0.3)
