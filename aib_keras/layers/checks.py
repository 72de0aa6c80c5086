"""Checks of arguments and inputs that the layers share."""

import numbers

import keras


def check_integer(name, value, minimum):
    """Returns `value` as an int, or raises a ValueError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise ValueError(f"`{name}` must be an integer of at least {minimum}, got {value!r}.")
    return int(value)


def check_non_negative(name, value):
    """Returns `value` as a float, or raises a ValueError that names the argument."""
    valid = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not valid or not 0 <= value < float("inf"):
        raise ValueError(f"`{name}` must be a finite number of at least 0, got {value!r}.")
    return float(value)


def check_choice(name, value, choices):
    """Returns `value` if it is one of `choices`, or raises a ValueError that lists them."""
    if value not in choices:
        expected = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` must be {expected}, got {value!r}.")
    return value


def check_floating(layer_name, inputs):
    """Raises a TypeError if `inputs` is not a floating-point tensor."""
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if "float" not in dtype:
        raise TypeError(
            f"{layer_name} needs floating-point inputs, got {dtype}. Pass features or a map, not "
            "raw images or labels; cast them to float32 if they are what you mean."
        )


def check_known_shape(layer_name, shape, rank, layout):
    """Raises a ValueError unless `shape` has `rank` axes and a known last one."""
    if len(shape) != rank or shape[-1] is None:
        raise ValueError(
            f"{layer_name} needs inputs of shape {layout} with a known last axis, got "
            f"{tuple(shape)}."
        )
