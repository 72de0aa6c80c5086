"""Gradient maps of a linear model, whose gradient is known."""

import keras
import numpy as np
import pytest
from keras import layers

from aib_keras.explain import gradient_map
from aib_keras.models import PlainClassifier

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype("uint8")


def linear():
    """Logits that are weighted sums of the pixels, and the weights."""
    inputs = keras.Input((4, 4, 3))
    dense = layers.Dense(2, name="linear")
    model = PlainClassifier(keras.Model(inputs, dense(layers.Flatten()(inputs))))
    return model, dense.get_weights()[0].reshape(4, 4, 3, 2)


def test_the_gradient_of_a_linear_model_is_its_weights():
    model, weights = linear()
    predicted = model.predict(IMAGES, verbose=0).argmax(axis=-1)
    expected = np.abs(weights).max(axis=2)[..., predicted].transpose(2, 0, 1)[..., None]
    found = gradient_map(model, IMAGES, batch_size=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    coarse = gradient_map(model, IMAGES, map_shape=(2, 2))
    blocks = expected.reshape(3, 2, 2, 2, 2, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse, blocks, rtol=1e-5)


@pytest.mark.parametrize("map_shape", [(5, 4), (4, 5), (0, 2), (2,), 2.5])
def test_a_gradient_map_that_is_finer_than_the_image_is_an_error(map_shape):
    with pytest.raises(ValueError, match="`map_shape` must be"):
        gradient_map(linear()[0], IMAGES, map_shape=map_shape)
