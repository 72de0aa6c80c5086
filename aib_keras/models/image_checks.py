"""Checks of the images that a model is called with, before a graph runs on them."""

import warnings

import keras
import numpy as np
from keras import ops

# The images of a batch whose values are enough to recognise the wrong range.
_SEEN = 16


def checked_array(model, images):
    """Returns images as an array, if it has the shape that a model takes.

    Args:
        model: Built `keras.Model`.
        images: Array, tensor, or list of arrays of the same shape.

    Raises:
        TypeError: for anything else, such as a data set.
        ValueError: for another shape.
    """
    images = as_array(images)
    shape = getattr(model, "input_shape", None)
    is_one_batch = isinstance(shape, tuple) and len(shape) == 4
    check_shape(model.name, images, shape if is_one_batch else (None, None, None, None))
    return images


def as_array(images):
    """Returns an array, a tensor or a list of arrays of the same shape as a NumPy array.

    Raises:
        TypeError: for anything else, such as a data set.
    """
    if not isinstance(images, np.ndarray) and not ops.is_tensor(images):
        given = type(images).__name__
        try:
            images = np.asarray(images)
        except ValueError:  # A tuple of images and labels, for example.
            images = np.empty((), object)
        if images.dtype == object or images.ndim == 0:
            raise TypeError(
                f"`images` must be an array (N, H, W, channels), got {given}. Of an ImageData "
                "pass its `images`; of a data set, np.concatenate([x for x, _ in dataset])."
            )
    return ops.convert_to_numpy(images)


def check_shape(name, images, expected):
    """Raises a ValueError unless the images have the shape that a model was built for.

    Args:
        name: Name of the model, for the error.
        images: Array or tensor, symbolic or not.
        expected: (batch, height, width, channels), with None for what may vary.
    """
    shape = tuple(images.shape)
    fits = len(shape) == 4 and all(
        want is None or have is None or have == want
        for have, want in zip(shape[1:], expected[1:], strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if side is None else str(side) for side in expected[1:])
        raise ValueError(
            f"{name} takes images of shape (batch, {wanted}), got {shape}."
            f"{_remedy(shape, expected)}"
        )


def _remedy(shape, expected):
    """A sentence that says how to repair the usual mistakes."""
    channels = expected[-1]
    if len(shape) == 3:
        return " Add the batch axis to a single image with images[None]."
    if len(shape) != 4:
        return ""
    if shape[1] == channels and shape[3] != channels:
        return " Move the channels last with np.transpose(images, (0, 2, 3, 1))."
    if shape[3] == 1 and channels == 3:
        return " Repeat the channel of grey images with np.repeat(images, 3, axis=-1)."
    if shape[3] == 4 and channels == 3:
        return " Drop the opacity of RGBA images with images[..., :3]."
    return " Resize the images, or build the model with another `input_shape`."


def check_finite(name, images):
    """Raises a ValueError if float images have NaN or infinity in them.

    Max pooling and ReLU can turn NaN into finite, meaningless logits.
    """
    if _is_float(images):
        finite = np.isfinite(ops.convert_to_numpy(images)).all(axis=(1, 2, 3))
        if not finite.all():
            raise ValueError(
                f"{name} needs finite images, and {np.count_nonzero(~finite)} of {len(images)} "
                f"have NaN or infinity in them, the first at index {np.argmin(finite)}. Remove or "
                "repair these images."
            )


def warn_of_range(name, images, stacklevel):
    """Warns if float images that should be in [0, 255] look like [0, 1]; returns whether it did."""
    if not _is_float(images):
        return False
    values = ops.convert_to_numpy(images[:_SEEN])
    low, high = float(np.min(values, initial=0)), float(np.max(values, initial=0))
    if high > 1.0 and low >= 0 or low == high == 0:
        return False
    warnings.warn(
        f"{name} takes images in [0, 255] and got values in [{low:.3g}, {high:.3g}]. Multiply "
        "images in [0, 1] by 255. For images that are already normalised, build the model with "
        "include_preprocessing=False.",
        stacklevel=stacklevel + 1,
    )
    return True


def has_values(images):
    """Whether `images` is an array or a tensor with values, not a symbol inside a graph."""
    if isinstance(images, np.ndarray):
        return True
    if isinstance(images, keras.KerasTensor) or not ops.is_tensor(images):
        return False
    if keras.backend.backend() == "tensorflow":
        return hasattr(images, "numpy")
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(images, jax.core.Tracer)
    return True


def _is_float(images):
    return "float" in keras.backend.standardize_dtype(images.dtype)
