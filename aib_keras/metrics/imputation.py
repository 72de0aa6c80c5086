"""Filling in missing pixels of an image from the others."""

import numpy as np

# Of the neighbours of a pixel, by (row, column) from it: the direct ones count twice as much as the
# diagonal ones (Rong et al., ICML 2022, section 4).
_NEIGHBOURS = {
    (row, column): 1 / 6 if 0 in (row, column) else 1 / 12
    for row in (-1, 0, 1)
    for column in (-1, 0, 1)
    if (row, column) != (0, 0)
}


def impute(image, missing):
    """Replaces missing pixels such that each is a weighted mean of its neighbours.

    Args:
        image: Float array `(H, W, C)`.
        missing: Boolean array `(H, W)`.

    Returns:
        A float64 array `(H, W, C)`. If all pixels are missing, each is the mean of the image.
    """
    from scipy import sparse
    from scipy.sparse import linalg

    filled = image.astype(np.float64)
    if not missing.any():
        return filled
    if missing.all():
        return np.broadcast_to(filled.mean(axis=(0, 1)), filled.shape).copy()
    count = int(missing.sum())
    # The number of each missing pixel among the missing ones.
    number = np.full(np.add(missing.shape, 2), -1)
    number[1:-1, 1:-1][missing] = np.arange(count)
    inside = np.pad(np.ones_like(missing), 1)
    padded = np.pad(filled, ((1, 1), (1, 1), (0, 0)))
    rows, columns = (1 + each for each in np.nonzero(missing))
    total, known = np.zeros(count), np.zeros((count, image.shape[2]))
    entries = []
    for (down, right), weight in _NEIGHBOURS.items():
        place = rows + down, columns + right
        weights = weight * inside[place]
        total += weights
        others = number[place]
        known += np.where(others < 0, weights, 0)[:, None] * padded[place]
        unknown = np.flatnonzero(others >= 0)
        entries.append((np.full(len(unknown), -weight), unknown, others[unknown]))
    entries.append((total, np.arange(count), np.arange(count)))
    values, at_rows, at_columns = (np.concatenate(part) for part in zip(*entries, strict=True))
    matrix = sparse.csc_matrix((values, (at_rows, at_columns)), shape=(count, count))
    filled[missing] = linalg.splu(matrix).solve(known)
    return filled
