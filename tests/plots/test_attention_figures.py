import io

import numpy as np
import pytest

from aib_keras.plots import attention_figure

RNG = np.random.default_rng(0)


IMAGES = RNG.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
EXPLANATION = {
    "logits": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
    "attention": RNG.random((3, 16, 16, 1)),
    "attention_quantized": RNG.random((3, 16, 16, 1)),
}


def test_dollar_signs_in_names_are_not_mathematics():
    figure = attention_figure(IMAGES, EXPLANATION, [0, 0, 0], ("$1_$5", "$5_$9"))
    figure.savefig(io.BytesIO())


def test_a_name_that_the_font_lacks_is_a_number():
    figure = attention_figure(IMAGES, EXPLANATION, [0, 0, 0], ("cat", "犬"))
    figure.savefig(io.BytesIO())
    titles = [axis.get_title() for axis in figure.axes if axis.images][:3]
    assert titles == ["cat", "cat\n(as #1)", "cat"]


def test_a_row_for_images_and_one_for_each_map():
    figure = attention_figure(IMAGES, EXPLANATION, [0, 0, 0], ("cat", "dog"))
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(drawn) == 9
    # The maps of a row share a scale, or their colours could not be compared.
    for row, name in ((drawn[3:6], "attention"), (drawn[6:9], "attention_quantized")):
        maps = EXPLANATION[name]
        assert {axis.images[0].get_clim() for axis in row} == {(maps.min(), maps.max())}
        for axis, values in zip(row, maps[..., 0], strict=True):
            np.testing.assert_array_equal(axis.images[0].get_array(), values)
            # A map covers the image, whatever its resolution.
            assert tuple(axis.images[0].get_extent()) == (0, 32, 32, 0)
    assert [axis.get_title() for axis in drawn[:3]] == ["cat", "cat\n(as dog)", "cat"]


def test_boxes_are_drawn_around_their_pixels():
    boxes = np.array([[8.0, 4.0, 20.0, 30.0]] * 3)
    figure = attention_figure(IMAGES, EXPLANATION, boxes=boxes)
    drawn = [axis.patches for axis in figure.axes if axis.patches]
    assert len(drawn) == 3
    assert drawn[0][0].get_bbox().extents.tolist() == [3.5, 7.5, 29.5, 19.5]


def test_a_model_without_maps_has_a_row_of_images():
    figure = attention_figure(IMAGES, {"logits": EXPLANATION["logits"]}, [0, 0, 0], ("cat", "dog"))
    assert [axis.get_title() for axis in figure.axes] == ["cat", "cat\n(as dog)", "cat"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": IMAGES[0]}, r"images\[None\]"),
        ({"images": IMAGES[..., :1]}, r"np.repeat"),
        ({"images": IMAGES[:0]}, "no images"),
        ({"images": IMAGES[:2]}, "2 images, but 3 rows in 'attention'"),
        ({"labels": [0], "class_names": ("cat", "dog")}, "3 images, but 1 rows in 'labels'"),
        ({"boxes": np.ones((1, 4))}, "3 images, but 1 rows in 'boxes'"),
    ],
)
def test_arguments_of_other_images_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        attention_figure(**{"images": IMAGES, "explanation": EXPLANATION, **arguments})
