"""Checks of arguments that the whole library shares.

Each returns the value in its canonical Python type, or raises a ValueError (a TypeError for a path
of the wrong type or a tensor of the wrong dtype) that names the argument, the expected values and
the given one.
"""

import math
import numbers
import os
import pathlib

import keras
import numpy as np

# Several times what ImageNet-21k has. Above it, numbers are hardly the labels of classes.
MAX_CLASSES = 100_000


def check_integer(name, value, minimum, maximum=None):
    """Returns `value` as an int if it is an integer in [minimum, maximum]."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < minimum or (maximum is not None and value > maximum):
        limits = f"of at least {minimum}" if maximum is None else f"in [{minimum}, {maximum}]"
        raise ValueError(f"`{name}` must be an integer {limits}, got {value!r}.")
    return int(value)


def check_seed(name, value):
    """Returns `value` as an int if it is a seed for every random generator: in [0, 2**32 - 1].

    On PyTorch the highest is 2**31 - 1, because Keras holds the state of its generators as int32
    there.
    """
    highest = 2**31 - 1 if keras.backend.backend() == "torch" else 2**32 - 1
    return check_integer(name, value, minimum=0, maximum=highest)


def check_number(name, value, minimum=-math.inf, maximum=math.inf):
    """Returns `value` as a float if it is a finite number in [minimum, maximum]."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not minimum <= value <= maximum:
        if maximum < math.inf:
            limits = f" in [{minimum:g}, {maximum:g}]"
        else:
            limits = "" if minimum == -math.inf else f" of at least {minimum:g}"
        raise ValueError(f"`{name}` must be a finite number{limits}, got {value!r}.")
    return float(value)


def check_non_negative(name, value):
    """Returns `value` as a float if it is a finite number of at least 0."""
    return check_number(name, value, minimum=0)


def check_positive(name, value):
    """Returns `value` as a float if it is a finite number above 0."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be a finite positive number, got {value!r}.")
    return float(value)


def check_boolean(name, value):
    """Returns `value` as a bool if it is one. Strings such as "no" are not."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise ValueError(f"`{name}` must be True or False, got {value!r}.")
    return bool(value)


def check_choice(name, value, choices):
    """Returns `value` if it is one of `choices`."""
    if value not in choices:
        expected = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` must be {expected}, got {value!r}.")
    return value


def check_size(name, value):
    """Returns `value` as (height, width) if it is an integer or a pair of them, all at least 1.

    An integer stands for both sides.
    """
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2 or not all(_is_positive_integer(side) for side in sides):
        raise ValueError(
            f"`{name}` must be an integer of at least 1 or a pair (height, width) of them, got "
            f"{value!r}."
        )
    return int(sides[0]), int(sides[1])


def _is_positive_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 1


def check_path(name, value):
    """Returns `value` as a `pathlib.Path` if it is a local path; `~` is the home folder."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"`{name}` must be a string or a path, got {value!r}.")
    if "://" in str(value):
        raise ValueError(
            f"`{name}` must be a local path, got the URL {str(value)!r}. Mount the storage as a "
            "folder, or copy the files."
        )
    return pathlib.Path(value).expanduser()


def check_floating(layer_name, inputs):
    """Raises a TypeError if `inputs` is not a floating-point tensor."""
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if "float" not in dtype:
        raise TypeError(
            f"{layer_name} needs floating-point inputs, got {dtype}. Pass features or a map, not "
            "raw images or labels, or cast them to float32."
        )


def check_known_shape(layer_name, shape, rank, layout):
    """Raises a ValueError unless `shape` has `rank` axes and a known last one."""
    if len(shape) != rank or shape[-1] is None:
        raise ValueError(
            f"{layer_name} needs inputs of shape {layout} with a known last axis, got "
            f"{tuple(shape)}."
        )


def check_image_batch(name, images):
    """Returns `images` as an array if its shape is (N, H, W, 3), with H and W of at least 1."""
    # Converting copies, which large arrays should be spared.
    images = images if isinstance(images, np.ndarray) else keras.ops.convert_to_numpy(images)
    if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < 1:
        raise ValueError(
            f"`{name}` must have shape (N, H, W, 3), got {images.shape}. Add the batch axis to a "
            "single image with images[None]; repeat the channel of grey images with "
            "np.repeat(images, 3, axis=-1); drop the opacity of RGBA images with images[..., :3]."
        )
    return images


def check_label_range(source, name, labels):
    """Raises a ValueError unless integer labels can be numbers of classes.

    Args:
        source: Where they come from, for the message.
        name: What they are called there.
        labels: Integer array.
    """
    if not len(labels):
        return
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0:
        raise ValueError(f"{source}: {name} has the negative label {lowest}.")
    if highest >= MAX_CLASSES:
        raise ValueError(
            f"{source}: the largest label is {highest}, but labels must be less than "
            f"{MAX_CLASSES:,}: number the classes from 0, for instance with "
            "np.unique(y, return_inverse=True)."
        )


def check_uint8_images(name, images):
    """Returns `images` as an array if they are uint8 `(N, H, W, 3)`, or raises a ValueError."""
    images = check_image_batch(name, images)
    if images.dtype != np.uint8:
        raise ValueError(
            f"`{name}` must be uint8 in [0, 255], got {images.dtype}. Pass images before they are "
            "normalised, and convert floats in that range with "
            'np.clip(images, 0, 255).astype("uint8").'
        )
    return images


def check_class_index(class_index, count, classes=None, name="class_index"):
    """Returns a class index for each of `count` images, int32 `(count,)`.

    Args:
        class_index: Integer, or integers `(count,)`.
        count: Integer.
        classes: Integer, the number of classes, or None if it is not known.
        name: Name of the argument.

    Raises:
        ValueError: if it is anything else, or out of its range.
    """
    values = np.asarray(class_index)
    valid = values.dtype.kind in "iu" and values.shape in ((), (count,))
    if not valid or values.min() < 0 or (classes is not None and values.max() >= classes):
        limit = "" if classes is None else f" and below {classes}"
        raise ValueError(
            f"`{name}` must be an integer or {count} integers, at least 0{limit}; got "
            f"{class_index!r}."
        )
    return np.broadcast_to(values, (count,)).astype("int32")
