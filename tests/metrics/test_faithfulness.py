"""Insertion and deletion for a model that only looks at one box of its images."""

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras.explain import gaussian_map, uniform_map
from aib_keras.metrics import deletion, insertion, road
from aib_keras.metrics.imputation import impute

# An eighth of 32x32 pixels, on whole cells of a 16x16 map.
BOX = (slice(None), slice(8, 16), slice(16, 32))
CELLS = (slice(None), slice(4, 8), slice(8, 16))


class SharePredictor(keras.Model):
    """Its probability of class 0 is the share of the box's pixels that are as they were: white."""

    def call(self, images):
        seen = ops.mean(ops.cast(images[BOX][..., 0] > 254.5, "float32"), axis=(1, 2))
        seen = ops.clip(seen, 1e-7, 1 - 1e-7)
        return ops.stack([ops.log(seen), ops.log(1 - seen)], axis=-1)


@pytest.fixture(scope="module")
def model():
    return SharePredictor()


def white_boxes(count=3):
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[BOX] = 255
    return images


def box_maps(count=3):
    maps = np.zeros((count, 16, 16, 1), np.float32)
    maps[CELLS] = 1.0
    return maps


def auc(score, model, maps, **settings):
    return score(model, white_boxes(len(maps)), maps, verbose=0, **settings)["auc"]


def test_a_map_equal_to_the_box_is_the_best(model):
    # The probability falls from 1 to 0 along the first eighth: a triangle of 1/16.
    assert auc(deletion, model, box_maps()) == pytest.approx(1 / 16, abs=1e-5)
    assert auc(insertion, model, box_maps()) == pytest.approx(15 / 16, abs=1e-5)


def test_its_complement_is_the_worst(model):
    assert auc(deletion, model, 1 - box_maps()) == pytest.approx(15 / 16, abs=1e-5)
    assert auc(insertion, model, 1 - box_maps()) == pytest.approx(1 / 16, abs=1e-5)


def test_maps_that_know_nothing_are_between(model):
    uniform = uniform_map((64, 16, 16, 1))
    random = np.random.default_rng(0).random((64, 16, 16))
    for score in (deletion, insertion):
        assert auc(score, model, uniform) == pytest.approx(0.5, abs=0.02)
        assert auc(score, model, random) == pytest.approx(0.5, abs=0.02)
    assert 1 / 16 < auc(deletion, model, gaussian_map((1, 16, 16, 1))) < 15 / 16


def test_the_curve(model):
    found = deletion(model, white_boxes(), box_maps(), steps=16, verbose=0)
    np.testing.assert_allclose(found["shares"], np.arange(17) / 16)
    np.testing.assert_allclose(found["curve"], [1, 0.5] + [0] * 15, atol=1e-5)
    assert found["auc_per_image"].shape == (3,)
    assert found["auc"] == pytest.approx(found["auc_per_image"].mean())


def test_a_map_of_single_pixels_and_its_scale_does_not_matter(model):
    fine = np.repeat(np.repeat(box_maps(), 2, axis=1), 2, axis=2)
    assert auc(deletion, model, 1e-9 * fine - 5e-10) == auc(deletion, model, box_maps())


def test_chance_is_the_seeds_and_not_the_batches(model):
    uniform = uniform_map((5, 16, 16, 1))
    settings = {"steps": 8, "verbose": 0}
    whole = deletion(model, white_boxes(5), uniform, seed=1, **settings)
    parts = deletion(model, white_boxes(5), uniform, seed=1, batch_size=2, **settings)
    np.testing.assert_allclose(parts["auc_per_image"], whole["auc_per_image"], rtol=1e-6)
    assert len(set(whole["auc_per_image"])) == 5
    other = deletion(model, white_boxes(5), uniform, seed=2, **settings)
    assert other["auc"] != whole["auc"]


def test_cells_that_do_not_divide_the_image(model):
    maps = np.random.default_rng(0).random((2, 5, 7))
    found = deletion(model, white_boxes(2), maps, steps=35, verbose=0)
    assert found["curve"][0] == pytest.approx(1, abs=1e-5)
    assert found["curve"][-1] == pytest.approx(0, abs=1e-5)


def test_holds_one_batch_of_changed_images(model, monkeypatch):
    sizes = []
    original = keras.Model.predict_on_batch

    def predict_on_batch(self, x):
        sizes.append(len(x))
        return original(self, x)

    monkeypatch.setattr(keras.Model, "predict_on_batch", predict_on_batch)
    auc(deletion, model, box_maps(5), steps=4, batch_size=2)
    # Per batch: the prediction, and then the five points of the curve.
    assert sizes == [2] * 6 + [2] * 6 + [1] * 6


def test_a_bar_shows_how_far_it_is(model, capsys):
    deletion(model, white_boxes(), box_maps(), steps=4)
    assert "5/5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("maps", "settings", "message"),
    [
        (np.ones((2, 4, 4)), {}, "2 maps and 3 images"),
        (np.ones((3, 64, 64)), {}, "64x64 cells"),
        (np.ones((3, 4, 4, 2)), {}, r"\(3, 4, 4, 2\)"),
        (np.full((3, 4, 4), np.nan), {}, "not finite"),
        (np.full((3, 4, 4), -np.inf), {}, "not finite"),
        (np.ones((3, 0, 4)), {}, r"at least 1, got \(3, 0, 4\)"),
        (np.ones((3, 4)), {}, r"got \(3, 4\)"),
        (np.ones((3, 2, 2)), {"steps": 5}, "at most the 4 cells"),
        (np.ones((3, 2, 2)), {"steps": 0}, "steps"),
        (np.ones((3, 2, 2)), {"batch_size": 0}, "batch_size"),
        (np.ones((3, 4, 4)), {"seed": -1}, "seed"),
    ],
)
def test_wrong_maps_and_settings_are_errors(model, maps, settings, message):
    for score in (deletion, insertion):
        with pytest.raises(ValueError, match=message):
            score(model, white_boxes(), maps, **settings)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((32, 32, 3), np.uint8), r"images\[None\]"),
        (np.full((3, 32, 32, 3), np.nan), r"images\[0\] has values that are not finite"),
        (np.zeros((0, 32, 32, 3)), "3 maps and 0 images"),
    ],
)
def test_wrong_images_are_errors(model, images, message):
    with pytest.raises(ValueError, match=message):
        deletion(model, images, box_maps(), verbose=0)


def test_images_have_the_channels_that_the_model_takes():
    grey = keras.Sequential(
        [keras.Input((32, 32, 1)), keras.layers.Flatten(), keras.layers.Dense(3)], name="grey"
    )
    images = np.random.default_rng(0).random((3, 32, 32, 1))
    assert 0 < deletion(grey, images, box_maps(), steps=2, verbose=0)["auc"] < 1
    with pytest.raises(ValueError, match=r"grey takes images of shape \(batch, 32, 32, 1\)"):
        deletion(grey, white_boxes(), box_maps(), verbose=0)


def test_batches_score_as_the_array_does(model):
    images, maps = white_boxes(5), np.random.default_rng(0).random((5, 16, 16))
    expected = deletion(model, images, maps, verbose=0)
    batches = [(images[:2], None), (images[2:], None)]
    found = deletion(model, iter(batches), maps, verbose=0)
    np.testing.assert_allclose(found["auc_per_image"], expected["auc_per_image"], rtol=1e-6)
    with pytest.raises(ValueError, match="Got 6 maps and 5 images"):
        deletion(model, iter(batches), np.concatenate([maps, maps[:1]]), verbose=0)
    with pytest.raises(ValueError, match="Got 4 maps and more images"):
        deletion(model, iter(batches), maps[:4], verbose=0)


def test_one_output_is_not_enough():
    binary = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
    )
    with pytest.raises(ValueError, match="at least 2 classes"):
        deletion(binary, white_boxes(), box_maps(), verbose=0)


def test_the_probability_of_a_sigmoid_is_taken_as_it_is():
    several = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(4, "sigmoid")]
    )
    found = deletion(several, white_boxes(), box_maps(), steps=2, class_index=1, verbose=0)
    expected = several.predict(white_boxes().astype("float32"), verbose=0)[:, 1].mean()
    assert found["curve"][0] == pytest.approx(expected, rel=1e-5)


def test_the_index_of_an_image_that_is_not_finite_is_that_in_the_data_set(model):
    images = white_boxes().astype(np.float32)
    images[2, 0, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"images\[2\]"):
        deletion(model, images, box_maps(), batch_size=1, verbose=0)


@pytest.mark.parametrize("blur", [0, -0.1, np.nan])
def test_insertion_needs_a_blur(model, blur):
    with pytest.raises(ValueError, match="`blur` must be a finite positive number"):
        insertion(model, white_boxes(), box_maps(), blur=blur)


def test_a_class_that_the_model_does_not_have_is_an_error(model):
    assert deletion(model, white_boxes(1), box_maps(1), class_index=1, verbose=0)["auc"] > 0
    with pytest.raises(ValueError, match="`class_index` must be an integer .* below 2; got 2"):
        deletion(model, white_boxes(1), box_maps(1), class_index=2, verbose=0)


def test_no_images_have_no_score(model):
    with pytest.raises(ValueError, match="`maps` is empty"):
        deletion(model, white_boxes(0), box_maps(0))


def test_an_imputed_pixel_is_the_weighted_mean_of_its_neighbours():
    rng = np.random.default_rng(0)
    image, missing = rng.random((6, 7, 3)), rng.random((6, 7)) < 0.4
    missing[0, :2] = True
    filled = impute(image, missing)
    np.testing.assert_array_equal(filled[~missing], image[~missing])
    weights = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    padded = np.pad(filled, ((1, 1), (1, 1), (0, 0)))
    there = np.pad(np.ones((6, 7)), 1)
    for row, column in zip(*np.nonzero(missing), strict=True):
        around = (slice(row, row + 3), slice(column, column + 3))
        shares = weights * there[around] / (weights * there[around]).sum()
        np.testing.assert_allclose(
            filled[row, column], (shares[..., None] * padded[around]).sum((0, 1))
        )
    everything = impute(image, np.ones((6, 7), bool))
    np.testing.assert_allclose(everything, np.broadcast_to(image.mean((0, 1)), image.shape))


def test_road_fills_in_and_deletes_as_deletion_does(model):
    # Without noise a white box in white is filled in as it was, and never disappears.
    white = np.full((2, 32, 32, 3), 255, np.uint8)
    settings = {"steps": 4, "verbose": 0}
    assert deletion(model, white, box_maps(2), **settings)["auc"] == pytest.approx(1, abs=1e-4)
    assert road(model, white, box_maps(2), noise=0, **settings)["auc"] == pytest.approx(1, abs=1e-4)
    # On black, the box deleted first is gone at once, and the box deleted last stays long.
    assert auc(road, model, box_maps(), steps=8) < 0.1
    assert auc(road, model, 1 - box_maps(), steps=8) > 0.8
    with pytest.raises(ValueError, match="`noise`"):
        auc(road, model, box_maps(), noise=-1)
    with pytest.raises(ValueError, match="`seed`"):
        auc(road, model, box_maps(), seed=-1)
