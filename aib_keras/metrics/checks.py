"""Argument checks that the scores share. All of them raise a ValueError."""

import numpy as np


def check_maps(maps, count, counted):
    """Returns maps as float64 `(N, h, w)` if they are finite and there is one for each item.

    Args:
        maps: Array `(N, h, w)` or `(N, h, w, 1)`.
        count: Integer, the N that is expected.
        counted: What the maps belong to, in the plural, such as `"images"`.
    """
    maps = np.asarray(maps)
    if maps.ndim not in (3, 4) or maps.shape[3:] not in ((), (1,)) or 0 in maps.shape[1:]:
        raise ValueError(
            f"`maps` must have shape (N, h, w) or (N, h, w, 1), with h and w of at least 1, got "
            f"{maps.shape}."
        )
    if len(maps) != count:
        raise ValueError(f"Got {len(maps)} maps and {count} {counted}: pass one map for each.")
    if not count:
        raise ValueError("`maps` is empty: the score is a mean over at least one map.")
    return check_finite("maps", maps).reshape(maps.shape[:3])


def check_finite(name, values, first=0):
    """Returns an array `(N, ...)` as float64 if all its values are finite real numbers.

    `first` is the index of `values[0]` in the whole array that the caller passed.
    """
    values = np.asarray(values)
    try:
        values = values.astype(np.float64, casting="same_kind")
    except TypeError:
        raise ValueError(f"`{name}` must be real numbers, got {values.dtype}.") from None
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        raise ValueError(
            f"`{name}` must be finite numbers, but {name}[{first + finite.argmin()}] has values "
            "that are not finite (NaN or infinite)."
        )
    return values


def check_boxes(boxes):
    """Returns boxes as float64 `(N, 4)` if each is finite and has an area."""
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"`boxes` must have shape (N, 4), with y0, x0, y1, x1 for each map, got {boxes.shape}."
        )
    boxes = check_finite("boxes", boxes)
    without_area = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    if without_area.any():
        first = without_area.argmax()
        raise ValueError(
            "`boxes` must be y0, x0, y1, x1 with y0 < y1 and x0 < x1; box "
            f"{first} is {boxes[first].tolist()}. Leave out images whose object is not in view."
        )
    return boxes


def check_labels(labels, count, classes):
    """Returns labels as an integer array `(N,)` if they are in [0, classes)."""
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be integers, one for each of the {count} rows of predictions, shape "
            f"({count},); got {labels.dtype} of shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`labels` must be integers in [0, {classes}), one per class; they are in "
            f"[{labels.min()}, {labels.max()}]."
        )
    return labels
