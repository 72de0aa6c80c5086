import types

import numpy as np
import pytest

from aib_keras.app import rendering
from aib_keras.app.predictions import Prediction

MAP = np.array([[0.25, 0.5], [0.5, 0.75]], np.float32)
IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def prediction(**changes):
    values = {
        "probabilities": np.array([0.25, 0.75]),
        "class_name": "cat",
        "attention": MAP,
        "attention_quantized": MAP,
        "bits": 12.34,
    }
    return Prediction(**{**values, **changes})


def trained(crop_to_box=False):
    return types.SimpleNamespace(num_anchors=20, crop_to_box=crop_to_box)


@pytest.mark.parametrize(
    ("attention", "stretch", "expected"),
    [
        (None, True, None),
        (MAP, True, (0.25, 0.75)),
        (MAP, False, (0, 1)),
        (4 * MAP - 2, False, (-1, 1)),
        (0 * MAP, True, (0, 1)),
        (0 * MAP + 7, False, (7, 8)),
    ],
)
def test_limits_are_those_of_the_map_where_it_is_asked_or_needed(attention, stretch, expected):
    assert rendering.limits(attention, stretch) == expected


def test_a_map_beyond_the_limits_is_clipped():
    limits = (0.4, 0.6)
    found = rendering.painted(IMAGE, MAP, limits, 1.0, nearest=True)
    expected = rendering.painted(IMAGE, np.clip(MAP, *limits), limits, 1.0, nearest=True)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == (256, 256, 3)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 3


def test_an_opacity_of_zero_shows_the_enlarged_image():
    np.testing.assert_array_equal(
        rendering.painted(IMAGE, MAP, (0.0, 1.0), 0), np.kron(IMAGE, np.ones((64, 64, 1)))
    )


def test_large_images_stay_as_they_are():
    image = np.zeros((200, 224, 3), np.uint8)
    assert rendering.enlarged(image).shape == image.shape


def test_the_facts_are_those_that_the_model_has():
    text = rendering.facts(trained(), prediction())
    assert "**12.3 bits**" in text
    assert "**3 of 20 anchors**" in text
    assert "crop" not in text
    text = rendering.facts(trained(), prediction(attention_quantized=None, bits=None))
    assert "no information bottleneck" in text
    assert "does not quantise" in text
    text = rendering.facts(trained(crop_to_box=True), prediction(attention=None))
    assert "no spatial map" in text
    assert "Crop yours, too" in text


def test_the_comparison_has_what_both_predictions_have():
    after = prediction(class_name="dog", attention=MAP[::-1], bits=9.0)
    rows = rendering.comparison(prediction(), after).split("\n")
    assert "| class | cat | dog |" in rows
    assert "| its probability | 75.0% | 75.0% |" in rows
    assert "| bits | 12.3 | 9.0 |" in rows
    cosine = (MAP * MAP[::-1]).sum() / (MAP**2).sum()
    assert f"**Cosine of the two maps: {cosine:.3f}**" in rows[-1]
    assert "bits" not in rendering.comparison(prediction(bits=None), prediction(bits=None))
    without = prediction(attention=None)
    assert "no similarity of maps" in rendering.comparison(without, without)


def test_the_name_of_a_class_is_only_text():
    found = prediction(class_name="<img src=x>|a")
    assert "| &lt;img src=x&gt;&#124;a |" in rendering.comparison(found, prediction())
