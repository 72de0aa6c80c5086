"""Scores of whether a prediction needs what the map shows: insertion, deletion and ROAD."""

import keras
import numpy as np
from keras import ops

from aib_keras.metrics.checks import check_finite, check_maps
from aib_keras.metrics.imputation import impute
from aib_keras.models import class_outputs, image_checks
from aib_keras.models.graphs import check_channels_last
from aib_keras.utils.batches import images_of_batches, is_dataset
from aib_keras.utils.checks import (
    check_class_index,
    check_integer,
    check_non_negative,
    check_positive,
    check_seed,
)
from aib_keras.utils.optional import require


def deletion(model, images, maps, steps=16, class_index=None, batch_size=128, seed=0, verbose=1):
    """Measures how fast a prediction disappears when the highest cells of a map are deleted first.

    Each cell of the map is a block of pixels. Deleting it replaces these pixels by the mean colour
    of their image. The curve shows the probability of the class that the model predicts for the
    whole image, against the share of cells deleted. The smaller the area under it, the better the
    map.

    Cells of equal value are deleted in random order, so a uniform map scores what a random order
    scores. Only compare maps of the same resolution: smaller blocks make images look less natural,
    and that alone lowers the probabilities.

    Source: Petsiuk et al., RISE, BMVC 2018, section 3.3. They replace pixels by a constant.

    Args:
        model: Keras model from images to logits or probabilities `(B, C)`.
        images: Array `(N, H, W, channels)`, in the range that the model takes, or batches of such
            images, as in `aib_keras.explain.grad_cam`. They must come in the order of the maps: a
            data set that shuffles has another order each time.
        maps: Array `(N, h, w)` or `(N, h, w, 1)` of finite numbers, with h <= H and w <= W. Only
            the order of a map's values matters.
        steps: Integer in [1, h * w]. The curve has `steps + 1` points.
        class_index: Integer, or integers `(N,)`, the class whose probability is measured. Defaults
            to the class that the model predicts for the whole image.
        batch_size: Integer, the number of images per forward pass.
        seed: Integer in [0, 2**32 - 1], for the order of cells of equal value.
        verbose: 0 or 1. With 1, prints a progress bar.

    Returns:
        A dict with:

        - `auc`: Float in [0, 1], the area under the mean curve.
        - `auc_per_image`: Float array `(N,)`, the area under the curve of each image.
        - `shares`: Float array `(steps + 1,)`, the shares of cells deleted, from 0 to 1.
        - `curve`: Float array `(steps + 1,)`, the mean probability at each share.

    Raises:
        ValueError: If an argument is not as described, or there is not one map for each image.
    """
    return _measure(model, images, maps, _delete, steps, class_index, batch_size, seed, verbose)


def insertion(
    model,
    images,
    maps,
    blur=0.125,
    steps=16,
    class_index=None,
    batch_size=128,
    seed=0,
    verbose=1,
):
    """Measures how fast a prediction returns when the highest cells of a map are restored first.

    This is the reverse of `deletion`: it starts from a blurred image and ends with the whole one.
    The larger the area under the curve, the better the map.

    Source: Petsiuk et al., RISE, BMVC 2018, section 3.3.

    Args:
        model: Keras model from images to logits or probabilities `(B, C)`.
        images: Array `(N, H, W, channels)`, in the range that the model takes, or batches of such
            images, as in `aib_keras.explain.grad_cam`. They must come in the order of the maps: a
            data set that shuffles has another order each time.
        maps: Array `(N, h, w)` or `(N, h, w, 1)`, as in `deletion`.
        blur: Positive number, the standard deviation of the Gaussian blur as a share of the
            images' height and width. With the default, an object keeps its colour and roughly its
            place.
        steps: Integer in [1, h * w]. The curve has `steps + 1` points.
        class_index: Integer, or integers `(N,)`, the class whose probability is measured. Defaults
            to the class that the model predicts for the whole image.
        batch_size: Integer, the number of images per forward pass.
        seed: Integer in [0, 2**32 - 1], for the order of cells of equal value.
        verbose: 0 or 1. With 1, prints a progress bar.

    Returns:
        A dict as that of `deletion`; `shares` are the shares of cells restored.

    Raises:
        ImportError: If SciPy is not installed.
        ValueError: If an argument is not as described, or there is not one map for each image.
    """
    ndimage = require("scipy.ndimage", "`insertion`", "train")
    blur = check_positive("blur", blur)

    def insert(batch):
        sigma = (0, blur * batch.shape[1], blur * batch.shape[2], 0)
        blurred = ndimage.gaussian_filter(batch, sigma, mode="nearest")
        return lambda restored: np.where(restored, batch, blurred)

    return _measure(model, images, maps, insert, steps, class_index, batch_size, seed, verbose)


def road(
    model,
    images,
    maps,
    noise=0.01,
    steps=8,
    class_index=None,
    batch_size=128,
    seed=0,
    verbose=1,
):
    """Measures as `deletion` does, but fills deleted cells in from the pixels around them.

    A cell of a single colour has edges that the model may react to, and its shape alone reveals
    what was deleted. ROAD (remove and debias) replaces each deleted pixel by a weighted mean of its
    neighbours. These can be deleted pixels too, so one linear system is solved for all of them;
    then a little noise is added. The smaller the area under the curve, the better the map.

    Source: Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods,
    ICML 2022, section 4 ("noisy linear imputation", most relevant pixels first). They measure the
    accuracy, this function the probability of the class. It solves a sparse linear system per image
    and step: seconds per image of 224x224 pixels.

    Args:
        model: As in `deletion`.
        images: As in `deletion`.
        maps: As in `deletion`.
        noise: Non-negative number, the standard deviation of the noise as a share of the range of
            the image's values.
        steps: As in `deletion`.
        class_index: As in `deletion`.
        batch_size: As in `deletion`.
        seed: As in `deletion`.
        verbose: As in `deletion`.

    Returns:
        As `deletion`.

    Raises:
        ImportError: If SciPy is not installed.
        ValueError: If an argument is not as described, or there is not one map for each image.
    """
    require("scipy.sparse.linalg", "`road`", "train")
    noise = check_non_negative("noise", noise)
    rng = np.random.default_rng(check_seed("seed", seed))

    def remove(batch):
        lowest, highest = (edge(batch, (1, 2, 3), keepdims=True) for edge in (np.min, np.max))
        added = noise * (highest - lowest) * rng.standard_normal(batch.shape, np.float32)

        def filled(removed):
            found = np.stack(
                [impute(image, mask[..., 0]) for image, mask in zip(batch, removed, strict=True)]
            )
            noisy = np.clip(found + added, lowest, highest).astype(np.float32)
            return np.where(removed, noisy, batch)

        return filled

    return _measure(model, images, maps, remove, steps, class_index, batch_size, seed, verbose)


def _delete(batch):
    mean = batch.mean(axis=(1, 2), keepdims=True)
    return lambda deleted: np.where(deleted, mean, batch)


def _measure(model, images, maps, change, steps, class_index, batch_size, seed, verbose):
    """Measures the curve while more and more pixels are changed.

    `change(batch)` returns a function from booleans `(B, H, W, 1)`, the pixels that are changed, to
    the changed images.
    """
    class_outputs.check_class_outputs(model)
    check_channels_last(model)
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    steps = check_integer("steps", steps, minimum=1)
    if is_dataset(images):
        # How many images it has is known at its end.
        batches = (image_checks.checked_array(model, batch) for batch in images_of_batches(images))
        number, count = None, len(maps)
    else:
        images = image_checks.checked_array(model, images)
        starts, count = range(0, len(images), batch_size), len(images)
        batches, number = (images[start : start + batch_size] for start in starts), len(starts)
    maps = check_maps(maps, count, "images")
    cells = maps[0].size
    if steps > cells:
        raise ValueError(f"`steps` must be at most the {cells} cells of a map, got {steps}.")
    classes = None if class_index is None else check_class_index(class_index, count)
    changed = np.linspace(0, cells, steps + 1).round().astype(int)
    ranks = _ranks(maps, check_seed("seed", seed))

    probabilities = np.empty((count, steps + 1))
    target = None if number is None else number * (steps + 1)
    bar = keras.utils.Progbar(target, verbose=verbose, unit_name="batch")
    seen, are_probabilities = 0, None
    for batch in batches:
        part = slice(seen, seen + len(batch))
        seen += len(batch)
        if seen > count:
            break
        batch = check_finite("images", batch, first=part.start).astype(np.float32)
        _check_resolution(maps, batch)
        whole = _outputs(model, batch)
        if are_probabilities is None:
            # Changed images, one by one, may look otherwise by chance.
            are_probabilities = class_outputs.returns_probabilities(model, whole)
            if classes is not None:
                check_class_index(class_index, count, whole.shape[-1])
        chosen = whole.argmax(axis=-1) if classes is None else classes[part]
        changed_images = change(batch)
        rank_of_pixel = _to_pixels(ranks[part], batch.shape[1:3])[..., None]
        for step, cells_changed in enumerate(changed):
            found = _outputs(model, changed_images(rank_of_pixel < cells_changed))
            if not are_probabilities:
                found = ops.convert_to_numpy(ops.softmax(found, axis=-1))
            probabilities[part, step] = found[np.arange(len(batch)), chosen]
            bar.add(1)
    if seen != count:
        raise ValueError(
            f"Got {count} maps and {'more' if seen > count else f'{seen}'} images: pass one map "
            "for each."
        )

    shares = changed / cells
    per_image = np.trapezoid(probabilities, shares, axis=1)
    return {
        "auc": float(per_image.mean()),
        "auc_per_image": per_image,
        "shares": shares,
        "curve": probabilities.mean(axis=0),
    }


def _outputs(model, images):
    """Returns the logits or probabilities of the classes, a float32 array `(B, C)`."""
    outputs = ops.convert_to_numpy(model.predict_on_batch(images)).astype(np.float32)
    class_outputs.check_class_shape(model, outputs.shape)
    return outputs


def _check_resolution(maps, images):
    height, width = images.shape[1:3]
    if maps.shape[1] > height or maps.shape[2] > width:
        raise ValueError(
            f"The maps have {maps.shape[1]}x{maps.shape[2]} cells, more than the images have "
            f"pixels, {height}x{width}. Pass maps of the images' resolution or coarser ones."
        )


def _ranks(maps, seed):
    """Returns the rank of each cell within its map, 0 for the highest, as integers `(N, h, w)`."""
    flat = maps.reshape(len(maps), -1)
    chance = np.random.default_rng(seed).random(flat.shape)
    order = np.lexsort((chance, -flat))
    return order.argsort(axis=1).reshape(maps.shape)


def _to_pixels(cells, shape):
    """Returns, for each pixel, the value of the cell that its centre lies in.

    Args:
        cells: Array `(N, h, w)`.
        shape: (H, W) in pixels.

    Returns:
        An array `(N, H, W)`.
    """
    rows, columns = (
        ((np.arange(pixels) + 0.5) * count / pixels).astype(int)
        for pixels, count in zip(shape, cells.shape[1:], strict=True)
    )
    return cells[:, rows[:, None], columns]
