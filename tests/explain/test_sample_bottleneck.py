"""The bottleneck that is optimised for each image."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy import ndimage

from aib_keras.explain import per_sample_bottleneck, sample_bottleneck

RNG = np.random.default_rng(0)


def test_the_information_and_its_slope():
    features = RNG.standard_normal((2, 3, 3, 4)).astype("float64")
    passed = RNG.uniform(0.1, 0.9, features.shape)
    assert (sample_bottleneck._information(features, passed) > 0).all()
    np.testing.assert_array_equal(sample_bottleneck._information(features, 0 * passed), 0)
    step = 1e-6
    rise = sample_bottleneck._information(features, passed + step)
    rise -= sample_bottleneck._information(features, passed - step)
    slope = sample_bottleneck._information_slope(features, passed)
    np.testing.assert_allclose(rise / (2 * step), slope, rtol=1e-5, atol=1e-7)


def test_the_slope_goes_back_through_the_filter():
    """Adam's first step goes against the gradient, by the learning rate everywhere."""
    features = RNG.standard_normal((1, 5, 5, 2)).astype("float32")
    weights = RNG.standard_normal(features.shape)

    def objective(logits):
        shares = 1 / (1 + np.exp(-logits))
        passed = ndimage.gaussian_filter(shares, (0, 1, 1, 0), mode="reflect")
        information = sample_bottleneck._information(features, passed)
        return (weights * passed).sum() + 2.0 * information.mean()

    first = np.full(features.shape, sample_bottleneck._FIRST_LOGIT)
    gradient = np.zeros_like(first)
    for index in np.ndindex(*first.shape):
        step = np.zeros_like(first)
        step[index] = 1e-5
        gradient[index] = (objective(first + step) - objective(first - step)) / 2e-5
    found = sample_bottleneck._least_information(
        features, lambda passed: weights, 2.0, 1, learning_rate=1.0, sigma=1.0
    )
    stepped = 1 / (1 + np.exp(-(first - np.sign(gradient))))
    expected = ndimage.gaussian_filter(stepped, (0, 1, 1, 0), mode="reflect")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_feature_that_hardly_ever_varies_passes_little():
    inputs = keras.Input((2, 2, 3))
    x = layers.Conv2D(1, 1, activation="relu", name="features")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    model.get_layer("features").set_weights([np.full((1, 1, 3, 1), 1e-3), np.zeros(1)])
    reference = np.zeros((50, 2, 2, 3), "float32")
    reference[0] = 0.1
    found = per_sample_bottleneck(
        model, np.full((1, 2, 2, 3), 255.0), layer="features", reference_images=reference
    )
    # The feature is 0.765 and its standard deviation 4e-5: with that, 2e8 nats.
    assert found.max() < 3000


def test_only_positions_that_the_class_depends_on_pass_information():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(2, 1, name="features")(inputs)
    left = layers.Cropping2D(((0, 0), (0, 2)))(x)
    logits = layers.Dense(2, name="logits")(layers.Flatten()(left))
    model = keras.Model(inputs, logits)
    model.get_layer("features").set_weights([np.full((1, 1, 3, 2), 0.01), np.zeros(2)])
    batch = RNG.integers(0, 256, (12, 4, 4, 3)).astype("uint8")
    # Half of the images are above the mean of their left halves, and belong to the first class.
    weights = np.tile([[0.5, -0.5]], (16, 1))
    centre = 0.5 * 16 * 0.03 * batch[:, :, :2].mean()
    model.get_layer("logits").set_weights([weights, np.array([-centre, centre])])
    settings = {"layer": "features", "sigma": 0.1, "samples": 1, "beta": 0.1}
    found = per_sample_bottleneck(model, batch, **settings)
    assert found.shape == (12, 4, 4, 1)
    assert (found >= 0).all()
    # After ten steps down from nearly all.
    assert found[:, :, 2:].max() < 0.01
    assert found[:, :, :2].mean() > 20 * found[:, :, 2:].mean()
    # The statistics are those of other images, and a higher price lets less through.
    dear = {**settings, "beta": 10, "reference_images": batch, "class_index": [0, 1, 1]}
    some = per_sample_bottleneck(model, batch[:3], **dear)
    assert some.shape == (3, 4, 4, 1)
    assert some.mean() < found[:3].mean()
    with pytest.raises(ValueError, match="at least 2 images, got 1. Pass `reference_images`"):
        per_sample_bottleneck(model, batch[:1], **settings)
    with pytest.raises(ValueError, match="`beta`"):
        per_sample_bottleneck(model, batch, layer="features", beta=0)
