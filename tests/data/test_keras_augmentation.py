"""Augmentation by Keras's layers: decided by the batch's generator alone."""

import keras
import numpy as np
import pytest

from aib_keras import data

LAYERS = [
    keras.layers.RandomZoom((-0.3, 0.0)),
    keras.layers.RandomBrightness(0.3, value_range=(0, 255)),
]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype("uint8")


def test_a_batch_is_that_of_its_generator(images):
    augment = data.KerasAugmentation(LAYERS)
    first = augment(images, np.random.default_rng(1))
    other = augment(images, np.random.default_rng(2))
    again = augment(images, np.random.default_rng(1))
    assert first.dtype == np.uint8
    assert first.shape == images.shape
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_images_of_a_batch_are_changed_differently(images):
    same = np.repeat(images[:1], 6, axis=0)
    augmented = data.KerasAugmentation(LAYERS)(same, np.random.default_rng(0))
    assert len(np.unique(augmented, axis=0)) == 6


def test_values_stay_in_the_range_of_pixels():
    white = np.full((8, 4, 4, 3), 255, "uint8")
    contrast = keras.layers.RandomContrast(0.9, value_range=(0, 255))
    brightness = keras.layers.RandomBrightness((0.5, 0.9), value_range=(0, 255))
    augmented = data.KerasAugmentation([contrast, brightness])(white, np.random.default_rng(0))
    # A value above 255 would have become a dark one.
    assert augmented.min() == 255


def test_low_precision_is_for_the_model_only(images):
    expected = data.KerasAugmentation(LAYERS)(images, np.random.default_rng(0))
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layers = [type(layer).from_config(layer.get_config() | {"dtype": None}) for layer in LAYERS]
        found = data.KerasAugmentation(layers)(images, np.random.default_rng(0))
    finally:
        keras.config.set_dtype_policy(previous)
    np.testing.assert_array_equal(found, expected)


def test_a_crop_comes_last(images):
    crop = data.CropFlip(padding=0, size=8)
    augment = data.KerasAugmentation([keras.layers.RandomFlip("vertical")], then=crop)
    examples = data.ImageData(images, np.arange(6, dtype="int32"), list("abcdef"))
    batches = data.AugmentedBatches(examples, 3, augment=augment)
    batches.epoch = 4
    found, _ = batches[1]
    assert found.shape == (3, 8, 8, 3)
    # As after a break: nothing was drawn before.
    batches.epoch = 0
    batches.epoch = 4
    np.testing.assert_array_equal(found, batches[1][0])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "`layers` is empty"),
        ([keras.layers.Dense(2)], "with a `seed`"),
        ([data.CropFlip()], "such as keras.layers.RandomZoom"),
        ([keras.layers.MixUp()], "MixUp mixes the labels"),
        ([keras.layers.AugMix()], "AugMix draws from Python's own generator"),
        ([keras.layers.RandomShear(0.2, 0.2)], "cannot make another RandomShear"),
    ],
)
def test_what_is_no_augmentation_layer_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        data.KerasAugmentation(layers)


def test_images_that_are_not_uint8_are_refused(images):
    with pytest.raises(TypeError, match="needs uint8 images .* got float32"):
        data.KerasAugmentation(LAYERS)(images.astype("float32") / 255, np.random.default_rng(0))


def test_the_axes_are_those_of_the_images(images):
    expected = data.KerasAugmentation(LAYERS)(images, np.random.default_rng(0))
    keras.config.set_image_data_format("channels_first")
    try:
        layers = [keras.layers.RandomZoom((-0.3, 0.0)), LAYERS[1]]
        found = data.KerasAugmentation(layers)(images, np.random.default_rng(0))
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(found, expected)
