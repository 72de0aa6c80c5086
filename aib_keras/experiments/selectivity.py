"""How much the maps of a trained model let through, and whether they differ between images."""

import numpy as np

from aib_keras.utils.maps import map_similarity


def is_residual(model):
    """Returns whether all features of an `ImageClassifier` pass, and its map only adds to them."""
    return model.attention is not None and model.attention.modulation == "residual"


def share_that_passes(model, explained):
    """Returns the mean of what features are multiplied by, or None if all of them pass anyway.

    Args:
        model: `ImageClassifier`.
        explained: Dict, the result of `model.explain` for some images.
    """
    if model.attention is None or is_residual(model):
        return None
    return float(_maps(explained).clip(0, 1).mean())


def similarity_of_images(explained):
    """Returns the mean cosine similarity of the maps of each image and the next.

    It is 1 for a map that does not depend on the image. None for a single image.

    Args:
        explained: Dict, the result of `model.explain` for some images.
    """
    maps = _maps(explained)
    return float(map_similarity(maps[:-1], maps[1:]).mean()) if len(maps) > 1 else None


def nats_by_cell(explained):
    """Returns the nats that pass an image's lowest cell, its highest one, and all of them.

    Args:
        explained: Dict, the result of `model.explain` for some images.

    Returns:
        Floats `(lowest, highest, total)`, means over the images; None without a map in nats.
    """
    if "attention_nats" not in explained:
        return None
    cells = explained["attention_nats"].reshape(len(explained["attention_nats"]), -1)
    return tuple(float(each.mean()) for each in (cells.min(1), cells.max(1), cells.sum(1)))


def _maps(explained):
    return np.asarray(explained.get("attention_quantized", explained["attention"]))
