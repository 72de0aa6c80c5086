import numpy as np
import pytest

from aib_keras.explain import pointing
from aib_keras.explain.localization import cells_inside

# Pixels 8 to 16 of 32 down, 16 to 32 across: cells 4 to 8 and 8 to 16 of a 16x16 map.
BOX = np.array([[8.0, 16.0, 16.0, 32.0]])
SHAPE = (32, 32)


def box_map():
    maps = np.zeros((1, 16, 16, 1))
    maps[:, 4:8, 8:16] = 1.0
    return maps


def test_cells_whose_centre_is_in_the_box():
    np.testing.assert_array_equal(cells_inside(BOX, (16, 16), SHAPE)[..., None], box_map() > 0)


def test_a_map_equal_to_the_box_scores_1_and_its_complement_0():
    assert pointing(box_map(), BOX, SHAPE) == 1.0
    assert pointing(1 - box_map(), BOX, SHAPE) == 0.0


def test_a_uniform_map_scores_the_share_of_the_box():
    assert pointing(np.ones((1, 16, 16)), BOX, SHAPE) == pytest.approx(32 / 256)


def test_a_single_maximum_decides():
    maps = np.random.default_rng(0).random((2, 16, 16))
    maps[0, 5, 12] = maps[1, 0, 0] = 2.0
    assert pointing(maps, np.repeat(BOX, 2, axis=0), SHAPE) == 0.5


def test_one_box_a_map():
    with pytest.raises(ValueError, match="2 maps and 1 boxes"):
        pointing(np.ones((2, 16, 16)), BOX, SHAPE)
