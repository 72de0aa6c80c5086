"""Maps that know nothing of the image."""

import numpy as np
import pytest

from aib_keras.explain import gaussian_map, uniform_map


@pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf"), "wide"])
def test_a_gaussian_needs_a_width(sigma):
    with pytest.raises(ValueError, match="`sigma` must be a finite positive number"):
        gaussian_map((1, 4, 4, 1), sigma)


@pytest.mark.parametrize("baseline", [gaussian_map, uniform_map])
@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (1, 0, 4, 1), (1, -4, 4, 1), (1, 4, 4, 3), 4])
def test_baselines_need_the_shape_of_maps(baseline, shape):
    with pytest.raises(ValueError, match="`shape` must be"):
        baseline(shape)


@pytest.mark.parametrize("sigma", [1e-300, 1e-3])
def test_a_narrow_gaussian_still_points_at_the_centre(sigma):
    expected = np.zeros((1, 5, 5, 1))
    expected[0, 2, 2] = 1
    np.testing.assert_array_equal(gaussian_map((1, 5, 5, 1), sigma), expected)
    assert gaussian_map((1, 4, 4, 1), sigma).sum() == 4


def test_baselines_without_an_image():
    shape = (2, 4, 8, 1)
    assert uniform_map(shape).shape == gaussian_map(shape).shape == shape
    assert np.ptp(uniform_map(shape)) == 0
    gaussian = gaussian_map(shape, sigma=0.25)
    np.testing.assert_array_equal(gaussian, gaussian[:, ::-1, ::-1])
    # The centres of these cells are an eighth and three eighths of the height from the middle.
    np.testing.assert_allclose(gaussian[0, 2, 4] / gaussian[0, 3, 4], np.exp(0.5 * (1.5**2 - 0.25)))
