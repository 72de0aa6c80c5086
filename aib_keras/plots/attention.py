"""Figures of where a model looks."""

from aib_keras.plots.maps import (
    check_counts,
    draw_images,
    draw_maps,
    map_grid,
    prediction_title,
)
from aib_keras.utils.checks import check_uint8_images

_ROWS = {"attention": "attention", "attention_quantized": "quantised"}


def attention_figure(images, explanation, labels=None, class_names=None, boxes=None):
    """Draws images above their attention maps, one image per column.

    There is one row for the images, one for the attention maps, and one for the quantised maps if
    the model has them. The maps of a row share one colour scale.

    Args:
        images: uint8 array `(N, H, W, 3)` with N of at least 1.
        explanation: Dict, the result of `model.explain(images)`.
        labels: Optional integer array `(N,)`. With `class_names`, the title of each image is its
            true class, followed by the predicted class if that is another one.
        class_names: Optional sequence of strings.
        boxes: Optional float array `(N, 4)` of y0, x0, y1, x1 in pixels, drawn on the images.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `images` are not as described, or another argument does not have one row per
            image.
    """
    images = check_uint8_images("images", images)
    count = len(images)
    maps = {name: explanation[name] for name in _ROWS if name in explanation}
    check_counts(count, {**maps, "labels": labels, "boxes": boxes})
    figure, axes = map_grid(
        1.3 * count + 1.2, 1.35 * (1 + len(maps)) + 0.3, rows=1 + len(maps), columns=count
    )
    draw_images(axes[0], images, boxes)
    if labels is not None and class_names is not None:
        for axis, logits, label in zip(axes[0], explanation["logits"], labels, strict=True):
            axis.set_title(prediction_title(class_names, logits, label), fontsize=7)
    for row, (name, values) in zip(axes[1:], maps.items(), strict=True):
        draw_maps(row, values, images.shape[1:3])
        row[0].set_ylabel(_ROWS[name], fontsize=8)
    return figure


def save_attention_figure(path, model, data, count=8):
    """Saves the `attention_figure` of the first examples of a data set.

    Args:
        path: Path of the image file. Its ending selects the format.
        model: `ImageClassifier` with a spatial map.
        data: `ImageData`.
        count: Integer, the number of examples.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    images = data.images[:count]
    figure = attention_figure(
        images,
        model.explain(images),
        labels=data.labels[:count],
        class_names=data.class_names,
        boxes=None if data.boxes is None else data.boxes[:count],
    )
    figure.savefig(path, dpi=120)
