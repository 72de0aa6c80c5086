"""Corruptions: what each does to images for which it is known."""

import io

import numpy as np
import pytest
from PIL import Image

from aib_keras.explain import Corruption
from aib_keras.explain.corruptions import STRENGTHS

RNG = np.random.default_rng(0)
# Smooth, as photos are, with a colour that differs between the channels.
PHOTO = np.stack(
    [np.add.outer(np.arange(32) * 3.0, np.arange(32) * k) for k in (1, 2, 4)], axis=-1
).astype("uint8")
IMAGES = np.stack([PHOTO, PHOTO[::-1], RNG.integers(0, 256, PHOTO.shape).astype("uint8")])


@pytest.mark.parametrize("kind", STRENGTHS)
def test_strength_grows_and_an_image_does_not_depend_on_its_batch(kind):
    changes = []
    for severity in range(1, 6):
        corruption = Corruption(kind, severity)
        found = corruption(IMAGES)
        assert found.dtype == np.uint8
        assert found.shape == IMAGES.shape
        np.testing.assert_array_equal(corruption(IMAGES[1:], first=1), found[1:])
        changes.append(np.abs(found.astype(float) - IMAGES).mean())
    assert changes == sorted(changes)
    assert 0 < changes[0] < changes[-1]
    assert corruption.name.endswith(" 5")
    assert corruption(IMAGES[:0]).shape == (0, 32, 32, 3)


def test_noise_has_its_standard_deviation_and_seed():
    grey = np.full((4, 64, 64, 3), 128, "uint8")
    noise = Corruption("gaussian_noise", 3)(grey).astype(float) - 128
    assert noise.mean() == pytest.approx(0, abs=0.5)
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.02)
    assert np.abs(np.corrcoef(noise.reshape(4, -1)) - np.eye(4)).max() < 0.05
    again = Corruption("gaussian_noise", 3, seed=1)(grey).astype(float) - 128
    assert abs(np.corrcoef(noise.ravel(), again.ravel())[0, 1]) < 0.05
    stronger = Corruption("gaussian_noise", 5)(grey).astype(float) - 128
    np.testing.assert_allclose(stronger / 0.10, noise / 0.08, atol=13)


def test_a_blurred_point_is_a_bell_of_the_same_sum():
    point = np.zeros((1, 33, 33, 3), "uint8")
    point[:, 16, 16] = 255
    found = Corruption("gaussian_blur", 5)(point)[0, :, :, 0].astype(float)
    x = np.arange(33) - 16
    bell = np.exp(-(x**2) / 2)
    bell = np.outer(bell, bell) / bell.sum() ** 2
    np.testing.assert_allclose(found, 255 * bell, atol=0.6)
    white = np.full((1, 8, 8, 3), 255, "uint8")
    np.testing.assert_array_equal(Corruption("gaussian_blur", 5)(white), white)


def test_contrast_shrinks_towards_the_mean_grey():
    grey = np.repeat(IMAGES[:1, :, :, :1], 3, axis=-1)
    found = Corruption("contrast", 5)(grey).astype(float)
    mean = grey.mean()
    np.testing.assert_allclose(found, mean + 0.15 * (grey - mean), atol=1.1)


def test_jpeg_has_the_quality_of_its_strength():
    buffer = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(buffer, "JPEG", quality=58)
    expected = np.asarray(Image.open(buffer))
    np.testing.assert_array_equal(Corruption("jpeg", 3)(IMAGES)[0], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fog", 1), "`kind` must be 'gaussian_noise' or .* got 'fog'"),
        (("jpeg", 6), r"`severity` must be an integer in \[1, 5\], got 6"),
        (("jpeg", 1, -1), "`seed` must be an integer"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Corruption(*arguments)


def test_images_must_be_uint8():
    with pytest.raises(ValueError, match="`images` must be uint8"):
        Corruption("jpeg", 1)(IMAGES / 255)
