"""Pictures of how maps and anchors change in a training."""

import numpy as np

_FRAMES_PER_SECOND = 4


def anchors_figure(history):
    """A matplotlib figure: the value of every anchor over the epochs.

    Args:
        history: List of dicts, an epoch each, with `anchors` `(Q,)`, as
            `aib_keras.training.callbacks.read_map_history` gives.

    Raises:
        ValueError: if there is no epoch, or the model has no anchors.
    """
    from matplotlib.figure import Figure

    _check(history, "anchors")
    anchors = np.stack([epoch["anchors"] for epoch in history])
    epochs = np.arange(1, len(anchors) + 1)
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(epochs, np.sort(anchors, axis=1), color="#0072B2", linewidth=0.9, marker=".")
    axes.set(xlabel="epoch", ylabel="value of an anchor", title=f"{anchors.shape[1]} anchors")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def save_film(path, images, history, name="attention"):
    """Saves an animated GIF: the maps of a few images after each epoch of a training.

    All frames share one scale, which is shown.

    Args:
        path: Of the file, `*.gif`.
        images: uint8 array `(N, H, W, 3)`.
        history: List of dicts, an epoch each, with the maps `(N, h, w, 1)` under `name`.
        name: Which map: `"attention"` or `"attention_quantized"`.

    Raises:
        ValueError: if there is no epoch, or no such map.
    """
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    _check(history, name)
    maps = np.stack([epoch[name][: len(images), ..., 0] for epoch in history])
    height, width = images.shape[1:3]
    figure = Figure(figsize=(1.2 * len(images) + 1, 3.1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(images), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, image in zip(axes[0], images, strict=True):
        axis.imshow(image)
    scale = {"vmin": maps.min(), "vmax": maps.max(), "cmap": "viridis"}
    drawn = [
        axis.imshow(first, extent=(0, width, height, 0), **scale)
        for axis, first in zip(axes[1], maps[0], strict=True)
    ]
    figure.colorbar(drawn[0], ax=list(axes[1]), shrink=0.9, label=name.replace("_", ", "))
    writer = PillowWriter(fps=_FRAMES_PER_SECOND)
    with writer.saving(figure, str(path), dpi=80):
        for epoch, epoch_maps in enumerate(maps, start=1):
            figure.suptitle(f"epoch {epoch} of {len(maps)}", fontsize=10)
            for picture, values in zip(drawn, epoch_maps, strict=True):
                picture.set_data(values)
            writer.grab_frame()


def _check(history, name):
    if not history:
        raise ValueError("There is no epoch to show: `history` is empty.")
    if name not in history[0]:
        raise ValueError(
            f"There is no {name!r} in this training's history, which has "
            f"{', '.join(sorted(history[0]))}."
        )
