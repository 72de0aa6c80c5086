import numpy as np
import pytest

from aib_keras.metrics import energy_pointing_game, pointing_game
from aib_keras.metrics.localization import cells_inside

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
    assert pointing_game(box_map(), BOX, SHAPE) == 1.0
    assert pointing_game(1 - box_map(), BOX, SHAPE) == 0.0


def test_a_uniform_map_scores_the_share_of_the_box():
    assert pointing_game(np.ones((1, 16, 16)), BOX, SHAPE) == pytest.approx(32 / 256)


def test_a_single_maximum_decides():
    maps = np.random.default_rng(0).random((2, 16, 16))
    maps[0, 5, 12] = maps[1, 0, 0] = 2.0
    assert pointing_game(maps, np.repeat(BOX, 2, axis=0), SHAPE) == 0.5


@pytest.mark.parametrize("score", [pointing_game, energy_pointing_game])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maps": np.ones((2, 16, 16))}, "2 maps and 1 boxes"),
        ({"maps": np.full((1, 4, 4), np.nan)}, r"`maps` must be finite.*maps\[0\].*not finite"),
        ({"maps": np.full((1, 4, 4), np.inf)}, "not finite"),
        ({"maps": np.ones((1, 4, 4, 3))}, r"\(N, h, w, 1\).*got \(1, 4, 4, 3\)"),
        ({"maps": np.ones((1, 0, 4))}, r"at least 1, got \(1, 0, 4\)"),
        ({"maps": np.ones(4)}, r"got \(4,\)"),
        ({"maps": np.full((1, 4, 4), "high")}, "real numbers, got <U4"),
        ({"maps": np.ones((0, 4, 4)), "boxes": np.ones((0, 4))}, "`maps` is empty"),
        ({"boxes": [[8, 16, 8, 32]]}, r"y0 < y1.*box 0 is \[8.0, 16.0, 8.0, 32.0\]"),
        ({"boxes": [[8, 32, 16, 16]]}, "x0 < x1"),
        ({"boxes": [[8, 16, np.nan, 32]]}, "`boxes` must be finite"),
        ({"boxes": [[8, 16, 16]]}, r"\(N, 4\).*got \(1, 3\)"),
        ({"boxes": [8, 16, 16, 32]}, r"got \(4,\)"),
        ({"image_shape": (0, 32)}, "`image_shape` must be"),
        ({"image_shape": (32, -32)}, "`image_shape` must be"),
        ({"image_shape": (32, 32, 3)}, "`image_shape` must be"),
        ({"image_shape": (32.5, np.nan)}, "`image_shape` must be"),
    ],
)
def test_wrong_arguments_are_named(score, changes, message):
    arguments = {"maps": box_map(), "boxes": BOX, "image_shape": SHAPE, **changes}
    with pytest.raises(ValueError, match=message):
        score(**arguments)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "int64"])
def test_maps_of_any_real_type_are_scored(dtype):
    assert pointing_game(box_map().astype(dtype), BOX, SHAPE) == 1.0
    assert energy_pointing_game(box_map().astype(dtype), BOX, SHAPE) == 1.0


def test_energy_of_a_map_equal_to_the_box_and_of_its_complement():
    assert energy_pointing_game(box_map(), BOX, SHAPE) == 1.0
    assert energy_pointing_game(1 - box_map(), BOX, SHAPE) == 0.0


def test_energy_of_a_uniform_map_is_the_share_of_the_box():
    for value in (1.0, 1e-6, 0.0):
        maps = np.full((1, 16, 16), value, np.float32)
        assert energy_pointing_game(maps, BOX, SHAPE) == pytest.approx(32 / 256)


def test_energy_is_a_share_and_negative_values_have_none():
    maps = 3 * box_map()
    maps[:, 0, :4] = 24.0
    assert energy_pointing_game(maps, BOX, SHAPE) == pytest.approx(0.5)
    maps[:, 15] = -100.0
    assert energy_pointing_game(maps, BOX, SHAPE) == pytest.approx(0.5)
    assert energy_pointing_game(-box_map(), BOX, SHAPE) == pytest.approx(32 / 256)


def test_energy_of_random_maps_is_that_of_a_uniform_one():
    maps = np.random.default_rng(0).random((200, 16, 16))
    found = energy_pointing_game(maps, np.repeat(BOX, 200, axis=0), SHAPE)
    assert found == pytest.approx(32 / 256, abs=0.005)
