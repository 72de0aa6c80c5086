"""Pictures that set maps side by side: of originals and modified images, of several models."""

import numpy as np

from aib_keras.plots.attention import class_title, prediction_title


def perturbation_figure(images, modified, explanations):
    """A matplotlib figure as Fig. 3 of the paper: does a model still look at the same place?

    Two rows an image, the original and the modified one, and a column a model with its maps. Under
    a modified map is its cosine with the original's. Every model has a scale of its own, because
    their maps have other ranges; yellow is high.

    Args:
        images: uint8 array `(N, H, W, 3)`.
        modified: uint8 array of that shape.
        explanations: Dict from a model's name to a pair: what `explain` returned for the originals
            and for the modified images.

    Source: Lai et al., IJCAI 2021, Fig. 3.
    """
    from matplotlib.figure import Figure

    count, columns = len(images), 1 + len(explanations)
    figure = Figure(figsize=(1.35 * columns, 1.45 * 2 * count + 0.3), layout="constrained")
    axes = figure.subplots(2 * count, columns, squeeze=False)
    for index in range(count):
        axes[2 * index, 0].imshow(images[index])
        axes[2 * index + 1, 0].imshow(modified[index])
        axes[2 * index, 0].set_ylabel("original", fontsize=7)
        axes[2 * index + 1, 0].set_ylabel("modified", fontsize=7)
    for column, (name, pair) in enumerate(explanations.items(), start=1):
        before, after = (each["attention"][..., 0] for each in pair)
        scale = _scale(np.stack([before, after]))
        axes[0, column].set_title(name, fontsize=8)
        for index in range(count):
            _draw(axes[2 * index, column], before[index], images.shape[1:3], scale)
            drawn = _draw(axes[2 * index + 1, column], after[index], images.shape[1:3], scale)
            axes[2 * index + 1, column].set_xlabel(
                f"cosine {_cosine(before[index], after[index]):.2f}", fontsize=7
            )
        _colorbar(figure, drawn, axes[:, column], "horizontal")
    return _without_ticks(figure, axes)


def quantization_figure(images, labels, class_names, continuous, quantized):
    """A matplotlib figure as Fig. 5 of the paper: the continuous map beside the quantised one.

    Rows: the image with its class, the map of the model without quantisation, the quantised map of
    the other; over each map the class that its model predicts.

    Args:
        images: uint8 array `(N, H, W, 3)`.
        labels: Integer array `(N,)`.
        class_names: Sequence of strings.
        continuous: What `explain` of the model without quantisation returned.
        quantized: What `explain` of the quantised model returned.

    Source: Lai et al., IJCAI 2021, Fig. 5.
    """
    from matplotlib.figure import Figure

    count = len(images)
    figure = Figure(figsize=(1.4 * count + 1.2, 5.0), layout="constrained")
    axes = figure.subplots(3, count, squeeze=False)
    for column in range(count):
        axes[0, column].imshow(images[column])
        axes[0, column].set_title(class_title(class_names, labels[column]), fontsize=8)
    rows = (
        (1, "continuous", continuous, continuous["attention"]),
        (2, "quantised", quantized, quantized["attention_quantized"]),
    )
    for row, name, explanation, maps in rows:
        scale = _scale(maps)
        for column in range(count):
            drawn = _draw(axes[row, column], maps[column, ..., 0], images.shape[1:3], scale)
            title = prediction_title(explanation["logits"][column], class_names)
            axes[row, column].set_title(title, fontsize=8)
        axes[row, 0].set_ylabel(name, fontsize=8)
        _colorbar(figure, drawn, axes[row], "vertical")
    return _without_ticks(figure, axes)


def _scale(maps):
    return {"vmin": float(maps.min()), "vmax": float(maps.max()), "cmap": "viridis"}


def _draw(axis, values, image_shape, scale):
    return axis.imshow(values, extent=(0, image_shape[1], image_shape[0], 0), **scale)


def _colorbar(figure, drawn, axes, orientation):
    bar = figure.colorbar(drawn, ax=list(axes), shrink=0.9, orientation=orientation)
    bar.ax.tick_params(labelsize=6)


def _without_ticks(figure, axes):
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure


def _cosine(first, second):
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.sum(first * second) / max(lengths, 1e-30))
