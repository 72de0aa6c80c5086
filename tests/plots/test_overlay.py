import numpy as np
import pytest

from aib_keras import plots

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
