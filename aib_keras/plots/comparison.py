"""Figures that compare maps: before and after a perturbation, and of two models."""

import numpy as np

from aib_keras.plots.maps import (
    class_title,
    draw_images,
    draw_maps,
    map_grid,
    prediction_title,
)
from aib_keras.utils.checks import check_uint8_images
from aib_keras.utils.maps import map_similarity


def perturbation_figure(images, perturbed, explanations):
    """Draws the maps of several models for images and perturbed images, as Fig. 3 of the paper.

    Each image has two rows, the original and the perturbed one. The first column holds the images,
    and there is one column of maps per model. Below each map of a perturbed image is its cosine
    similarity with the original's map. Each model has its own colour scale, because the ranges of
    their maps differ.

    Source: Lai et al., IJCAI 2021, Fig. 3.

    Args:
        images: uint8 array `(N, H, W, 3)`.
        perturbed: uint8 array of the same shape.
        explanations: Dict from the name of a model to a pair: the results of `model.explain` for
            `images` and for `perturbed`.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the images are not as described.
    """
    images = check_uint8_images("images", images)
    perturbed = check_uint8_images("perturbed", perturbed)
    count, columns = len(images), 1 + len(explanations)
    figure, axes = map_grid(1.35 * columns, 1.45 * 2 * count + 0.3, rows=2 * count, columns=columns)
    draw_images(axes[:, 0], _interleave(images, perturbed))
    for row, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(("original", "perturbed")[row % 2], fontsize=7)
    for column, (name, pair) in zip(axes.T[1:], explanations.items(), strict=True):
        before, after = (each["attention"] for each in pair)
        draw_maps(column, _interleave(before, after), images.shape[1:3], orientation="horizontal")
        column[0].set_title(name, fontsize=8)
        for axis, cosine in zip(column[1::2], map_similarity(before, after), strict=True):
            axis.set_xlabel(f"cosine {cosine:.2f}", fontsize=7)
    return figure


def quantization_figure(images, labels, class_names, continuous, quantized):
    """Draws the maps of a model without quantisation above those of a quantised one, as Fig. 5.

    The rows are the images with their true class, the continuous maps and the quantised maps. Above
    each map is the class that its model predicts.

    Source: Lai et al., IJCAI 2021, Fig. 5.

    Args:
        images: uint8 array `(N, H, W, 3)`.
        labels: Integer array `(N,)`.
        class_names: Sequence of strings.
        continuous: Dict, the result of `model.explain(images)` for the model without quantisation.
        quantized: Dict, that of the quantised model.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the images are not as described.
    """
    images = check_uint8_images("images", images)
    figure, axes = map_grid(1.4 * len(images) + 1.2, 5.0, rows=3, columns=len(images))
    draw_images(axes[0], images)
    for axis, label in zip(axes[0], labels, strict=True):
        axis.set_title(class_title(class_names, label), fontsize=8)
    rows = (
        ("continuous", continuous, continuous["attention"]),
        ("quantised", quantized, quantized["attention_quantized"]),
    )
    for row, (name, explanation, maps) in zip(axes[1:], rows, strict=True):
        draw_maps(row, maps, images.shape[1:3])
        row[0].set_ylabel(name, fontsize=8)
        for axis, logits in zip(row, explanation["logits"], strict=True):
            axis.set_title(prediction_title(class_names, logits), fontsize=8)
    return figure


def _interleave(first, second):
    """Returns first[0], second[0], first[1], second[1], ... of two arrays of the same shape."""
    return np.stack([first, second], axis=1).reshape(-1, *np.shape(first)[1:])
