"""The bottleneck that is optimised for each image."""

import keras
import numpy as np
import pytest
from keras import layers

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
