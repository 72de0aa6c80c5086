"""The perturbations that the page offers. A slider sets the size of each."""

import dataclasses
import math
import numbers
from collections.abc import Callable

from aib_keras import explain
from aib_keras.utils.checks import check_choice

_SEEDS = 2**31


@dataclasses.dataclass(frozen=True)
class Slider:
    """The slider of a perturbation: integers from 1 to `maximum`."""

    label: str
    maximum: int
    value: int


@dataclasses.dataclass(frozen=True)
class _Kind:
    label: str
    make: Callable
    maximum: Callable
    value: Callable
    has_place: bool = False


_KINDS = {
    "colour window": _Kind(
        "Side of the window, in pixels of what the model sees",
        explain.ColorWindow,
        maximum=lambda side: side,
        value=lambda side: max(1, side // 4),
        has_place=True,
    ),
    # Except in the corners of the spectrum, no frequency is more than half the side from zero.
    # The values are those of the paper's Table 2; a radius means the same at any image size.
    "high-pass": _Kind(
        "Radius: frequencies above it stay, in cycles per image",
        lambda size, seed: explain.HighPass(size),
        maximum=lambda side: max(1, side // 2),
        value=lambda side: min(4, max(1, side // 2)),
    ),
    "low-pass": _Kind(
        "Radius: frequencies below it stay, in cycles per image",
        lambda size, seed: explain.LowPass(size),
        maximum=lambda side: max(1, side // 2),
        value=lambda side: min(12, max(1, side // 2)),
    ),
}
CHANGES = tuple(_KINDS)


def slider(kind, image_size):
    """Returns the `Slider` of a perturbation in `CHANGES` for images of a size (height, width)."""
    chosen = _KINDS[check_choice("perturbation", kind, CHANGES)]
    side = min(image_size)
    return Slider(chosen.label, chosen.maximum(side), chosen.value(side))


def has_place(kind):
    """Returns whether a perturbation has a place that depends on a seed."""
    return _KINDS[check_choice("perturbation", kind, CHANGES)].has_place


def perturbation(kind, size, seed, image_size):
    """Returns the perturbation that the controls of the page ask for.

    Args:
        kind: One of `CHANGES`.
        size: Value of the slider: a whole number from 1 to its maximum.
        seed: Whole number in [0, 2^31).
        image_size: (height, width) of what the model sees.

    Returns:
        One of `aib_keras.explain`'s perturbations.

    Raises:
        ValueError: if an argument is not as described.
    """
    size = check_size(kind, size, image_size)
    return _KINDS[kind].make(size, seed=check_seed(seed))


def check_size(kind, size, image_size):
    """Returns the size of a perturbation as an integer, if it is as in `perturbation`."""
    maximum = slider(kind, image_size).maximum
    return _whole_number("size of the perturbation", size, 1, maximum)


def check_seed(seed):
    """Returns a seed as an integer, if it is as in `perturbation`."""
    return _whole_number("seed", seed, 0, _SEEDS - 1)


def _whole_number(name, value, low, high):
    # The browser's numbers are all floats.
    valid = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not valid or not math.isfinite(value) or value != int(value) or not low <= value <= high:
        raise ValueError(
            f"The {name} must be a whole number from {low} to {high}, got {short(value)}."
        )
    return int(value)


def short(value):
    """Returns the repr of a value, cut if it is very long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
