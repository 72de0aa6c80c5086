import math

import numpy as np
import pytest

from aib_keras import explain
from aib_keras.app import changes

SIZE = (32, 48)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("colour window", explain.ColorWindow(8, seed=5)),
        ("high-pass", explain.HighPass(8)),
        ("low-pass", explain.LowPass(8)),
    ],
)
def test_the_controls_give_the_modifications_of_explain(kind, expected):
    # The browser's numbers are floats.
    assert changes.perturbation(kind, 8.0, 5.0, SIZE) == expected


@pytest.mark.parametrize("kind", changes.CHANGES)
@pytest.mark.parametrize("image_size", [(1, 1), (2, 3), SIZE, (224, 224)])
def test_all_that_a_slider_offers_fits_the_images(kind, image_size):
    slider = changes.slider(kind, image_size)
    assert 1 <= slider.value <= slider.maximum
    image = np.full((1, *image_size, 3), 99, np.uint8)
    for size in {1, slider.value, slider.maximum}:
        assert changes.perturbation(kind, size, 0, image_size)(image).shape == image.shape


def test_only_windows_have_a_place():
    assert [kind for kind in changes.CHANGES if changes.has_place(kind)] == ["colour window"]


@pytest.mark.parametrize("wrong", [0, 33, -1, 2.5, 1e300, math.nan, math.inf, None, "8", True, [8]])
def test_a_wrong_size_is_told_with_what_is_possible(wrong):
    with pytest.raises(ValueError, match="size of the perturbation .* whole number from 1 to 32"):
        changes.perturbation("colour window", wrong, 0, SIZE)


@pytest.mark.parametrize("wrong", [-1, 2**31, 0.5, math.nan, None, "0" * 10**6])
def test_a_wrong_seed_is_told_and_the_message_stays_short(wrong):
    with pytest.raises(ValueError, match="seed must be a whole number from 0") as caught:
        changes.perturbation("colour window", 8, wrong, SIZE)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("wrong", ["sepia", None, 3])
def test_an_unknown_modification_is_told_with_those_there_are(wrong):
    for call in (changes.has_place, lambda kind: changes.slider(kind, SIZE)):
        with pytest.raises(ValueError, match="'colour window' or 'high-pass' or 'low-pass'"):
            call(wrong)
