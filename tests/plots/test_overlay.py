import numpy as np
import pytest

from aib_keras import plots
from aib_keras.plots.overlay import shaded

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 20, 30, 3)).astype("uint8")
MAPS = np.random.default_rng(1).random((8, 4, 6, 1))


def test_each_map_covers_its_image():
    figure = plots.overlay_figure(IMAGES, MAPS, titles=[str(index) for index in range(8)])
    axes = [axis for axis in figure.axes if axis.get_images()]
    assert len(axes) == 8
    for index, axis in enumerate(axes):
        image, overlay = axis.get_images()
        np.testing.assert_array_equal(image.get_array(), IMAGES[index])
        values = MAPS[index, ..., 0]
        shadow = 0.85 * (values.max() - values) / np.ptp(values)
        np.testing.assert_allclose(overlay.get_array()[..., 3], shadow)
        assert overlay.get_extent() == pytest.approx(image.get_extent())
        assert axis.get_title() == str(index)


def test_another_number_of_maps_is_an_error():
    with pytest.raises(ValueError, match="8 images, but 3 rows in 'maps'"):
        plots.overlay_figure(IMAGES, MAPS[:3])


def test_images_that_would_be_drawn_white_are_an_error():
    with pytest.raises(ValueError, match="`images` must be uint8 in .0, 255., got float64"):
        plots.overlay_figure(IMAGES.astype("float64"), MAPS)


def test_an_image_is_dark_where_its_map_is_low():
    image = np.full((8, 12, 3), 200, np.uint8)
    values = np.array([[0.2, 0.2, 0.7], [0.2, 0.2, 0.7]])
    found = shaded(image, values[..., None], opacity=0.75)
    assert found.shape == image.shape
    assert (found[:, -1] == 200).all()
    assert (found[:, 0] == 50).all()
    assert (np.diff(found[0, :, 0].astype(int)) >= 0).all()
    # A map without differences hides no place more than another.
    assert (shaded(image, np.ones((2, 3)), opacity=0.75) == 200).all()
