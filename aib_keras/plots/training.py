"""Figures of how maps and anchors change during training."""

import numpy as np

from aib_keras.plots.maps import draw_images, draw_maps, map_grid
from aib_keras.plots.style import SERIES, new_figure
from aib_keras.utils.checks import check_uint8_images
from aib_keras.utils.optional import require
from aib_keras.utils.suggestions import did_you_mean

_FRAMES_PER_SECOND = 4


def anchors_figure(history):
    """Draws the value of each anchor over the epochs.

    Args:
        history: List of dicts, one per epoch, with the key `anchors` `(Q,)`, as
            `aib_keras.training.read_map_history` returns it.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `history` is empty or has no anchors.
    """
    _check_history(history, "anchors")
    anchors = np.stack([epoch["anchors"] for epoch in history])
    epochs = np.arange(1, len(anchors) + 1)
    figure = new_figure(5, 3.2)
    axes = figure.subplots()
    axes.plot(epochs, anchors, color=SERIES[0][0], linewidth=0.9, marker=".")
    axes.set(xlabel="epoch", ylabel="value of an anchor", title=f"{anchors.shape[1]} anchors")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def save_film(path, images, history, name="attention"):
    """Saves an animated GIF of the maps of a few images, with one frame per epoch of a training.

    All frames share one colour scale.

    Args:
        path: Path of the file, which should end in `.gif`.
        images: uint8 array `(N, H, W, 3)`.
        history: List of dicts, one per epoch, with maps `(M, h, w, 1)` under the key `name`, where
            M >= N.
        name: `"attention"` or `"attention_quantized"`, the maps to draw.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `history` is empty or has no such maps, or `images` are not as described.
    """
    animation = require("matplotlib.animation", "Plotting", "train")
    agg = require("matplotlib.backends.backend_agg", "Plotting", "train")
    images = check_uint8_images("images", images)
    _check_history(history, name)
    maps = np.stack([epoch[name][: len(images), ..., 0] for epoch in history])
    figure, axes = map_grid(1.2 * len(images) + 1, 3.1, rows=2, columns=len(images))
    # The writer needs a figure that can be drawn already.
    agg.FigureCanvasAgg(figure)
    draw_images(axes[0], images)
    label = name.replace("_", ", ")
    drawn = draw_maps(axes[1], maps[0], images.shape[1:3], all_maps=maps, label=label)
    writer = animation.PillowWriter(fps=_FRAMES_PER_SECOND)
    with writer.saving(figure, str(path), dpi=80):
        for epoch, epoch_maps in enumerate(maps, start=1):
            figure.suptitle(f"epoch {epoch} of {len(maps)}", fontsize=10)
            for picture, values in zip(drawn, epoch_maps, strict=True):
                picture.set_data(values)
            writer.grab_frame()


def _check_history(history, name):
    if not history:
        raise ValueError("There is no epoch to draw: `history` is empty.")
    if name not in history[0]:
        raise ValueError(
            f"There is no {name!r} in `history`, which has {', '.join(sorted(history[0]))}."
            f"{did_you_mean(name, history[0])}"
        )
