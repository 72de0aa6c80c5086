"""Maps by gradients, on models whose maps are known."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from aib_keras import zoo
from aib_keras.explain import gaussian_map, grad_cam, gradient_map, uniform_map
from aib_keras.explain.gradients import gradient
from aib_keras.models import PlainClassifier

RNG = np.random.default_rng(0)
# Side of the features at 32 pixels, for the models of 224 pixels at 64.
SIDES = {"vgg_gap": 8, **dict.fromkeys(("vgg16", "vgg16_aib", "vgg16_aib_qt"), 4)}
SIDES |= dict.fromkeys(("wrn50_2", "wrn50_2_aib", "wrn50_2_aib_qt"), 4)
QUICK = ("vgg_dvib", "vgg_aib_qt")


def images(side=32, count=3):
    return RNG.integers(0, 256, (count, side, side, 3)).astype("uint8")


@pytest.fixture(scope="module")
def vgg_gap():
    return zoo.vgg_gap(width=0.03)


def linear():
    """Logits that are weighted sums of the pixels, and the weights."""
    inputs = keras.Input((4, 4, 3))
    dense = layers.Dense(2, name="linear")
    model = PlainClassifier(keras.Model(inputs, dense(layers.Flatten()(inputs))))
    return model, ops.convert_to_numpy(dense.kernel).reshape(4, 4, 3, 2)


def test_the_gradient_of_a_linear_model_is_its_weights():
    model, weights = linear()
    batch = images(4)
    predicted = model.predict(batch, verbose=0).argmax(axis=-1)
    expected = np.abs(weights).max(axis=2)[..., predicted].transpose(2, 0, 1)[..., None]
    found = gradient_map(model, batch, batch_size=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    coarse = gradient_map(model, batch, map_shape=(2, 2))
    blocks = expected.reshape(3, 2, 2, 2, 2, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse, blocks, rtol=1e-5)


def test_grad_cam_before_global_pooling_is_the_class_activation_map(vgg_gap):
    """Selvaraju et al., section 3: up to the ReLU and the number of positions."""
    batch = images()
    expected = np.maximum(vgg_gap.explain(batch)["attention"], 0) / 64
    assert expected.any()
    np.testing.assert_allclose(grad_cam(vgg_gap, batch), expected, rtol=1e-3, atol=1e-6)


def test_the_features_can_be_those_of_any_layer(vgg_gap):
    batch = images()
    place = vgg_gap.feature_extractor.get_layer("block1_pool")
    found = grad_cam(vgg_gap, batch, layer="block1_pool")
    assert found.shape == (3, 16, 16, 1)
    np.testing.assert_allclose(grad_cam(vgg_gap, batch, layer=place), found, rtol=1e-4)
    # Nothing of the model has changed.
    assert "call" not in vars(place)
    logits = ops.convert_to_numpy(vgg_gap(batch))
    np.testing.assert_allclose(vgg_gap.explain(batch)["logits"], logits, rtol=1e-4, atol=1e-4)


def test_layers_that_cannot_be_are_named(vgg_gap):
    with pytest.raises(ValueError, match="no layer 'block1_pol'. Did you mean 'block1_pool'"):
        grad_cam(vgg_gap, images(), layer="block1_pol")
    with pytest.raises(ValueError, match=r"a map \(B, h, w, C\).*'logits' gave"):
        grad_cam(vgg_gap, images(), layer="logits")
    with pytest.raises(ValueError, match="name the layer"):
        grad_cam(linear()[0], images(4))
    with pytest.raises(TypeError, match="PlainClassifier"):
        gradient_map(keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten()]), images(4))


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in zoo.list_models()
    ],
)
def test_every_model_of_the_zoo(name, settled):
    side = 64 if name.startswith(("vgg16", "wrn50")) else 32
    model = zoo.get(name)(input_shape=(side, side, 3), width=0.03)
    batch = images(side)
    settled(model, batch.astype("float32"))
    cams = grad_cam(model, batch)
    assert cams.shape == (3, SIDES.get(name, 16), SIDES.get(name, 16), 1)
    if model.map_names:
        assert cams.shape == tuple(model.explanation(batch)["attention"].shape)
    gradients = gradient_map(model, batch)
    assert gradients.shape == (3, side, side, 1)
    for maps in (cams, gradients):
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()
        assert (maps >= 0).all()
        assert maps.any()


def test_the_gradient_of_what_does_not_matter_is_zero():
    inputs = ops.convert_to_tensor(np.ones(3, "float32"))
    found = gradient(lambda x: ops.sum(x * x), inputs)
    np.testing.assert_allclose(ops.convert_to_numpy(found), 2.0)
    found = gradient(lambda x: ops.sum(ops.stop_gradient(x)), inputs)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), 0.0)


def test_maps_that_know_nothing():
    shape = (2, 4, 8, 1)
    assert uniform_map(shape).shape == gaussian_map(shape).shape == shape
    assert np.ptp(uniform_map(shape)) == 0
    gaussian = gaussian_map(shape, sigma=0.25)
    np.testing.assert_array_equal(gaussian, gaussian[:, ::-1, ::-1])
    # Centres of the cells: an eighth and three eighths of the height from the middle.
    np.testing.assert_allclose(gaussian[0, 2, 4] / gaussian[0, 3, 4], np.exp(0.5 * (1.5**2 - 0.25)))
