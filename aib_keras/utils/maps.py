"""Comparison of attention maps."""

import numpy as np


def map_similarity(first, second):
    """Cosine similarity of the maps in two batches, pair by pair.

    Maps that are equal have similarity 1, also where all their values are 0; a map of zeros and
    another have 0.

    Args:
        first: Array `(N, ...)`.
        second: Array of the same shape.

    Returns:
        float64 `(N,)` in [-1, 1]; NaN for a pair in which a value is NaN.

    Raises:
        ValueError: if the shapes differ.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"The maps have shapes {np.shape(first)} and {np.shape(second)}: expected the same."
        )
    first, second = (
        np.asarray(maps, np.float64).reshape(len(maps), -1) for maps in (first, second)
    )
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return np.where((first == second).all(axis=1), 1.0, np.clip(cosines, -1, 1))
