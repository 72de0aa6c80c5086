"""The cells that figures of maps are made of: images, maps on a shared scale, and their titles."""

import numpy as np

from aib_keras.plots.style import class_label, new_figure

_COLOR_MAP = "viridis"
_BAR_FONT_SIZE = 7
_TITLE_LENGTH = 16


def map_grid(width, height, rows, columns):
    """Returns a figure with a grid of axes without ticks, for images and maps.

    Args:
        width, height: Numbers, the size of the figure in inches.
        rows, columns: Integers.

    Returns:
        A tuple of the figure and an array `(rows, columns)` of matplotlib axes.
    """
    figure = new_figure(width, height)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, axes


def check_counts(count, arguments):
    """Raises a ValueError without images, or for an argument that is not of as many.

    Args:
        count: Integer, the number of images.
        arguments: Dict from names to arrays or sequences with a row per image, or None.
    """
    if not count:
        raise ValueError("There are no images to draw.")
    for name, values in arguments.items():
        if values is not None and len(values) != count:
            raise ValueError(
                f"Got {count} images, but {len(values)} rows in {name!r}: pass one for each image."
            )


def draw_images(axes, images, boxes=None):
    """Draws one image per axis, with its box if there are boxes.

    Args:
        axes: Sequence of N axes.
        images: Array `(N, H, W, 3)`.
        boxes: Optional array `(N, 4)` of y0, x0, y1, x1 in pixels.
    """
    for axis, image in zip(axes, images, strict=True):
        axis.imshow(image)
    if boxes is None:
        return
    from matplotlib.patches import Rectangle

    for axis, (y0, x0, y1, x1) in zip(axes, boxes, strict=True):
        # The centre of a pixel has integer coordinates, its edges lie half a pixel away.
        corner = x0 - 0.5, y0 - 0.5
        axis.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor="white"))


def draw_maps(axes, maps, image_shape, all_maps=None, orientation="vertical", label=""):
    """Draws one map per axis, as large as an image, on one colour scale with one colour bar.

    Args:
        axes: Sequence of N axes.
        maps: Array `(N, h, w)` or `(N, h, w, 1)`.
        image_shape: (height, width) of the images in pixels.
        all_maps: Optional array of all maps that the scale must fit. Defaults to `maps`.
        orientation: `"vertical"` or `"horizontal"`, the direction of the colour bar.
        label: String, the label of the colour bar.

    Returns:
        A list of N matplotlib images.
    """
    maps = np.reshape(maps, np.shape(maps)[:3])
    all_maps = maps if all_maps is None else all_maps
    scale = {"vmin": float(np.min(all_maps)), "vmax": float(np.max(all_maps)), "cmap": _COLOR_MAP}
    extent = (0, image_shape[1], image_shape[0], 0)
    drawn = [
        axis.imshow(each, extent=extent, **scale) for axis, each in zip(axes, maps, strict=True)
    ]
    bar = axes[0].figure.colorbar(
        drawn[0], ax=list(axes), shrink=0.9, orientation=orientation, label=label
    )
    bar.ax.tick_params(labelsize=_BAR_FONT_SIZE)
    return drawn


def class_title(class_names, label):
    """Returns the name of a class, shortened to fit above an image."""
    name = class_names[label]
    short = name if len(name) <= _TITLE_LENGTH else f"{name[: _TITLE_LENGTH - 1]}…"
    return class_label(label, short)


def prediction_title(class_names, logits, label=None):
    """Returns the name of the predicted class; with a label, that of the true class first.

    Args:
        class_names: Sequence of C strings.
        logits: Array `(C,)`.
        label: Optional integer. The predicted class is added only if it is another one.
    """
    predicted = int(np.argmax(logits))
    if label is None:
        return class_title(class_names, predicted)
    true = class_title(class_names, label)
    return true if predicted == label else f"{true}\n(as {class_title(class_names, predicted)})"
