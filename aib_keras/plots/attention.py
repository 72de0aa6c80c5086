"""Pictures of where a model looks."""

import keras
import numpy as np

_TITLES = {"attention": "attention", "attention_quantized": "quantised"}
_TITLE_LENGTH = 16


def attention_figure(images, explanation, labels=None, class_names=None, boxes=None):
    """A matplotlib figure: a column an image; rows for the image, its map, its quantised map.

    Maps of one row share one scale, shown beside it.

    Args:
        images: uint8 array `(N, H, W, 3)`.
        explanation: What `model.explain(images)` returned.
        labels: Optional integer array `(N,)`; with `class_names` the titles name the true class
            and, where it is another, the predicted one.
        class_names: Optional sequence of strings.
        boxes: Optional float array `(N, 4)`: y0, x0, y1, x1 in pixels, drawn on the images.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = [name for name in _TITLES if name in explanation]
    count = len(images)
    figure = Figure(figsize=(1.3 * count + 1.2, 1.35 * (1 + len(rows)) + 0.3), layout="constrained")
    axes = figure.subplots(1 + len(rows), count, squeeze=False)
    height, width = images.shape[1:3]
    for column in range(count):
        axes[0, column].imshow(images[column])
        if boxes is not None:
            y0, x0, y1, x1 = boxes[column]
            axes[0, column].add_patch(
                Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white")
            )
        if labels is not None and class_names is not None:
            title = _title(labels[column], explanation["logits"][column], class_names)
            axes[0, column].set_title(title, fontsize=7)
    for row, name in enumerate(rows, start=1):
        maps = explanation[name][..., 0]
        scale = {"vmin": float(maps.min()), "vmax": float(maps.max()), "cmap": "viridis"}
        for column in range(count):
            drawn = axes[row, column].imshow(maps[column], extent=(0, width, height, 0), **scale)
        axes[row, 0].set_ylabel(_TITLES[name], fontsize=8)
        figure.colorbar(drawn, ax=list(axes[row]), shrink=0.9).ax.tick_params(labelsize=7)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure


def save_attention_figure(path, model, data, count=8):
    """Saves the `attention_figure` of the first `count` examples of an `ImageData`."""
    images = data.images[:count]
    figure = attention_figure(
        images,
        model.explain(images),
        labels=data.labels[:count],
        class_names=data.class_names,
        boxes=None if data.boxes is None else data.boxes[:count],
    )
    figure.savefig(path, dpi=120)


def class_title(class_names, label):
    """The name of a class, short enough for a title above a picture."""
    name = class_names[label]
    return name if len(name) <= _TITLE_LENGTH else f"{name[: _TITLE_LENGTH - 1]}…"


def prediction_title(logits, class_names):
    """The name of the class that the logits `(classes,)` of one image predict."""
    return class_title(class_names, _predicted(logits))


def _predicted(logits):
    return int(np.argmax(keras.ops.convert_to_numpy(logits)))


def _title(label, logits, class_names):
    true = class_title(class_names, label)
    if _predicted(logits) == label:
        return true
    return f"{true}\n(as {prediction_title(logits, class_names)})"
