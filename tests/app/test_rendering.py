import types

import numpy as np
import pytest

from aib_keras.app import rendering
from aib_keras.app.predictions import Prediction
from aib_keras.data import EvaluationTransform
from aib_serve.overlay import overlay

MAP = np.array([[0.25, 0.5], [0.5, 0.75]], np.float32)
IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


WHOLE = (0.0, 0.0, 1.0, 1.0)
MIDDLE = (0.25, 0.25, 0.75, 0.75)


def prediction(maps=("map", "quantised map", "Grad-CAM"), **changes):
    values = {
        "probabilities": np.array([0.25, 0.75]),
        "class_name": "cat",
        "maps": {name: MAP for name in maps},
        "bits": 12.34,
    }
    return Prediction(**{**values, **changes})


def trained(crop_to_box=False, crop_pct=1.0, is_residual=False):
    transform = EvaluationTransform((4, 4), crop_pct)
    return types.SimpleNamespace(
        num_anchors=20, crop_to_box=crop_to_box, transform=transform, is_residual=is_residual
    )


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
    picture = rendering.shown(IMAGE)
    found = rendering.painted(picture, MAP, WHOLE, limits, 1.0, nearest=True)
    clipped = np.clip(MAP, *limits)
    expected = rendering.painted(picture, clipped, WHOLE, limits, 1.0, nearest=True)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 3


def test_the_part_that_the_model_sees_is_painted_and_the_rest_is_dim():
    picture = np.full((100, 160, 3), 200, np.uint8)
    found = rendering.painted(picture, MAP, MIDDLE, (0.0, 1.0), 0.5)
    part = overlay(picture[25:75, 40:120], MAP, 0.5)
    np.testing.assert_array_equal(found[25:75, 40:120], part)
    assert set(found[:25].flat) | set(found[:, :40].flat) | set(found[75:].flat) == {70}
    without_map = rendering.painted(picture, None, MIDDLE, None, 0.5)
    assert set(without_map[25:75, 40:120].flat) == {200}
    assert set(without_map[:25].flat) == {70}


def test_an_opacity_of_zero_shows_the_image():
    found = rendering.painted(rendering.shown(IMAGE), MAP, WHOLE, (0.0, 1.0), 0)
    np.testing.assert_array_equal(found, np.kron(IMAGE, np.ones((128, 128, 1))))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((32, 32), (512, 512)),
        ((300, 451), (300, 451)),
        ((3024, 4032), (540, 720)),
        ((5000, 2), (720, 1)),
    ],
)
def test_pictures_have_the_aspect_ratio_of_the_image(shape, expected):
    assert rendering.shown(np.zeros((*shape, 3), np.uint8)).shape == (*expected, 3)


def test_thumbnails_are_smaller():
    assert rendering.shown(np.zeros((300, 600, 3), np.uint8), 256).shape == (128, 256, 3)


def test_what_the_model_sees_is_shown_in_the_proportions_of_its_part():
    picture = np.zeros((100, 160, 3), np.uint8)
    found = rendering.proportioned(IMAGE, picture, MIDDLE)
    assert found.shape == (50, 80, 3)
    np.testing.assert_array_equal(found[::13, ::20], IMAGE)


def test_each_scale_has_its_ends_and_maps_that_are_not_there_have_none():
    text = rendering.scales({"map of <a>": (0.25, 0.5), "Grad-CAM of b": (0, 3.0), "c": None})
    assert text.count('role="img"') == 2
    assert "<span>0.25</span><span>map of &lt;a&gt;</span><span>0.5</span>" in text
    assert "<span>0</span><span>Grad-CAM of b</span><span>3</span>" in text


def test_the_facts_are_those_that_the_model_has():
    text = rendering.facts(trained(), prediction(), "map")
    assert "**12.3 bits**" in text
    assert "**3 of 20 anchors**" in text
    assert "The map has 2x2 cells. The colours between their centres are interpolated" in text
    assert "middle" not in text
    assert "crop" not in text
    assert "all features pass" not in text
    residual = trained(is_residual=True)
    assert "all features pass" in rendering.facts(residual, prediction(), "map")
    grad_cam = prediction(maps=["map", "Grad-CAM"])
    assert "all features pass" not in rendering.facts(residual, grad_cam, "Grad-CAM")
    counted = prediction(cell_bits=100 * MAP)
    assert "**25.0 to 75 bits** pass through a cell" in rendering.facts(trained(), counted, "map")
    assert "pass through a cell" not in rendering.facts(trained(), counted, "Grad-CAM")
    text = rendering.facts(trained(), prediction(), "quantised map")
    assert "2x2 cells of the map are drawn as blocks" in text
    text = rendering.facts(trained(crop_pct=0.5), prediction(maps=["map"], bits=None), "map")
    assert "no information bottleneck" in text
    assert "does not quantise" in text
    assert "What is dim, the model does not see" in text
    text = rendering.facts(trained(crop_to_box=True), prediction(maps=["Grad-CAM"]), "Grad-CAM")
    assert "no spatial map of its own" in text
    assert "Grad-CAM of the class cat, has 2x2 cells" in text
    assert "Crop yours, too" in text


def test_the_comparison_has_what_both_predictions_have():
    after = prediction(class_name="dog", maps=[], bits=9.0)
    after.maps["Grad-CAM"] = MAP[::-1]
    text = rendering.comparison([("image", prediction(), "map"), ("b|c", after, "Grad-CAM")])
    rows = text.split("\n")
    assert rows[:2] == ["|  | image | b&#124;c |", "|---|---|---|"]
    assert "| class | cat | dog |" in rows
    assert "| its probability | 75.0% | 75.0% |" in rows
    assert "| bits | 12.3 | 9.0 |" in rows
    cosine = (MAP * MAP[::-1]).sum() / (MAP**2).sum()
    assert f"**Cosine of the two maps: {cosine:.3f}**" in rows[-1]


def test_a_comparison_leaves_out_what_there_is_not():
    without = prediction(bits=None)
    assert "bits" not in rendering.comparison([("a", without, "map"), ("b", without, "map")])
    text = rendering.comparison([("a", prediction(), "map"), ("b", without, "map")])
    assert "| bits | 12.3 | none |" in text
    without.maps["map"] = np.zeros((3, 3))
    text = rendering.comparison([("a", prediction(), "map"), ("b", without, "map")])
    assert "different numbers of cells" in text


def test_the_name_of_a_class_is_only_text():
    found = prediction(class_name="<img src=x>|a")
    text = rendering.comparison([("a", found, "map"), ("b", prediction(), "map")])
    assert "| &lt;img src=x&gt;&#124;a |" in text
    text = rendering.facts(trained(), found, "Grad-CAM")
    assert "<img" not in text


def test_the_text_of_a_sheet_says_what_is_not_on_it():
    assert rendering.sheet_text(3, [], more=False) == "**Images on the sheet: 3.**"
    text = rendering.sheet_text(3, ["a.txt is no image.", "b.txt, too."], more=True)
    assert "the first 5 files" in text
    assert text.endswith("Not shown:\n\n- a.txt is no image.\n- b.txt, too.")
