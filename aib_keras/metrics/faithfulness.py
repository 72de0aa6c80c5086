"""Whether a model needs what its map shows: insertion and deletion."""

import keras
import numpy as np
from scipy import integrate, ndimage, special

from aib_keras.utils.checks import check_integer


def deletion(model, images, maps, **settings):
    """How fast a prediction goes away when images lose what their maps value, the highest first.

    The map's cells are replaced, as blocks of pixels, by the mean colour of the image itself.
    Measured is the probability of the class that the model predicts for the whole image, against
    the share of the cells replaced. A low area under this curve speaks for a map.

    Cells of equal value are in random order, so that a uniform map gives what a random order does.
    Compare maps of the same resolution only: the finer the blocks, the less the changed images are
    like images, and probabilities fall for that alone.

    Source: Petsiuk et al., RISE, BMVC 2018, section 3.3, who replace pixels by a constant.

    Args:
        model: Keras model from images to logits, such as any model of the zoo.
        images: Array `(N, H, W, 3)`, as `model(images)` takes it.
        maps: Array `(N, h, w)` or `(N, h, w, 1)` of finite numbers, any scale; h and w at most H
            and W.
        steps: Integer from 1 to h * w, points of the curve after the first; 16 by default.
        batch_size: Integer, images in a forward pass; 128 by default.
        seed: Integer, of the order of cells of equal value; 0 by default.
        verbose: 0, or 1 for a progress bar, the default.

    Returns:
        A dict: `auc`, the area under the mean curve, a float in [0, 1], and by image
        `auc_per_image` `(N,)`; `shares` and `curve`, `(steps + 1,)`: the shares of the cells
        changed, from 0 to 1, and the mean probabilities at them.

    Raises:
        ValueError: if images and maps do not fit each other, or the maps are not finite.
    """
    return _measure(model, images, maps, _delete, **settings)


def insertion(model, images, maps, blur=0.125, **settings):
    """How fast a prediction comes back when blurred images regain what their maps value.

    As `deletion`, but from a blurred image to the whole one: a high area under the curve speaks for
    a map.

    Args:
        model, images, maps: As in `deletion`.
        blur: Standard deviation of the Gaussian blur, as a share of the images' height and width.
            The default leaves of an object its colour and about where it is.
        **settings: `steps`, `batch_size`, `seed` and `verbose`, as in `deletion`.

    Returns and raises what `deletion` does.
    """

    def insert(batch):
        sigma = (0, blur * batch.shape[1], blur * batch.shape[2], 0)
        return ndimage.gaussian_filter(batch, sigma, mode="nearest"), batch

    return _measure(model, images, maps, insert, **settings)


def _delete(batch):
    return batch, np.broadcast_to(batch.mean(axis=(1, 2), keepdims=True), batch.shape)


def _measure(model, images, maps, ends, steps=16, batch_size=128, seed=0, verbose=1):
    """The curve from the first to the second of the images that `ends` makes of a batch."""
    maps = _checked_maps(images, maps)
    cells = maps[0].size
    steps = check_integer("steps", steps, minimum=1)
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    if steps > cells:
        raise ValueError(f"`steps` must be at most the {cells} cells of a map, got {steps}.")
    changed = np.linspace(0, cells, steps + 1).round().astype(int)
    ranks = _ranks(maps, seed)

    probabilities = np.empty((len(images), steps + 1))
    starts = range(0, len(images), batch_size)
    bar = keras.utils.Progbar(len(starts) * (steps + 1), verbose=verbose, unit_name="batch")
    for start in starts:
        part = slice(start, start + batch_size)
        batch = np.asarray(images[part], np.float32)
        predicted = model.predict_on_batch(batch).argmax(axis=-1)
        before, after = ends(batch)
        rank_of_pixel = _to_pixels(ranks[part], batch.shape[1:3])[..., None]
        for step, count in enumerate(changed):
            logits = model.predict_on_batch(np.where(rank_of_pixel < count, after, before))
            found = special.softmax(logits, axis=-1)
            probabilities[part, step] = found[np.arange(len(batch)), predicted]
            bar.add(1)

    shares = changed / cells
    per_image = integrate.trapezoid(probabilities, shares, axis=1)
    return {
        "auc": float(per_image.mean()),
        "auc_per_image": per_image,
        "shares": shares,
        "curve": probabilities.mean(axis=0),
    }


def _checked_maps(images, maps):
    maps = np.asarray(maps)
    if maps.ndim not in (3, 4) or maps.shape[3:] not in ((), (1,)):
        raise ValueError(f"Expected maps (N, h, w) or (N, h, w, 1), got shape {maps.shape}.")
    if len(maps) != len(images) or not len(maps):
        raise ValueError(
            f"Got {len(maps)} maps and {len(images)} images: one map an image is needed."
        )
    height, width = np.shape(images)[1:3]
    if maps.shape[1] > height or maps.shape[2] > width:
        raise ValueError(
            f"The maps have {maps.shape[1]}x{maps.shape[2]} cells, more than the images have "
            f"pixels, {height}x{width}: pass maps of the images' size or coarser."
        )
    if not np.isfinite(maps).all():
        raise ValueError("The maps have values that are not finite, which have no order.")
    return maps.reshape(maps.shape[:3])


def _ranks(maps, seed):
    """The place of each cell of a map, 0 for the highest: integers `(N, h, w)`."""
    flat = maps.reshape(len(maps), -1)
    chance = np.random.default_rng(seed).random(flat.shape)
    order = np.lexsort((chance, -flat.astype(np.float64)))
    return order.argsort(axis=1).reshape(maps.shape)


def _to_pixels(cells, shape):
    """The value of the cell that the centre of each pixel lies in: `(N, h, w)` to `(N, H, W)`."""
    rows, columns = (
        ((np.arange(pixels) + 0.5) * count / pixels).astype(int)
        for pixels, count in zip(shape, cells.shape[1:], strict=True)
    )
    return cells[:, rows[:, None], columns]
