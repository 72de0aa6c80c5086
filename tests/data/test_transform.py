import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from aib_keras import data
from aib_keras.data import EvaluationTransform, pixels


def test_the_sizes_of_the_paper():
    transform = EvaluationTransform((224, 224), 224 / 256)
    assert transform.resized_size == (256, 256)
    assert transform.margins == (16, 16)
    assert transform.box == (0.0625, 0.0625, 0.9375, 0.9375)


def test_sides_are_rounded_and_the_odd_pixel_is_below_and_to_the_right():
    transform = EvaluationTransform((30, 41), 0.8)
    assert transform.resized_size == (38, 51)
    assert transform.margins == (4, 5)
    np.testing.assert_allclose(transform.box, (4 / 38, 5 / 51, 34 / 38, 46 / 51))


def test_without_a_crop_everything_stays():
    transform = EvaluationTransform(np.int64(7))
    images = np.arange(2 * 49 * 3).reshape(2, 7, 7, 3)
    assert transform.size == transform.resized_size == (7, 7)
    assert transform.box == (0, 0, 1, 1)
    assert transform.crop(images) is not images
    np.testing.assert_array_equal(transform.crop(images), images)


@pytest.mark.parametrize("shape", [(10, 15, 3), (2, 10, 15, 3), (2, 4, 10, 15, 1)])
def test_crops_the_middle(shape):
    images = np.arange(math.prod(shape)).reshape(shape)
    found = EvaluationTransform((8, 12), 0.8).crop(images)
    np.testing.assert_array_equal(found, images[..., 1:9, 1:13, :])


def test_refuses_images_that_are_too_small():
    with pytest.raises(ValueError, match=r"cannot crop images of \(7, 20\) to \(8, 12\)"):
        EvaluationTransform((8, 12)).crop(np.zeros((2, 7, 20, 3)))


def test_reads_a_file_as_it_is_decoded_and_cropped(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 61, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    found = EvaluationTransform((32, 24), 0.8).read(tmp_path / "x.png")
    larger = pixels.decode(tmp_path / "x.png", (40, 30))
    np.testing.assert_array_equal(found, larger[4:36, 3:27])
    assert found.flags.c_contiguous


def test_prepares_images_as_a_data_set_is_prepared(tmp_path):
    """Resized to more than the model sees and cropped in the middle; `data.load` has the same."""
    rng = np.random.default_rng(0)
    for index, name in enumerate(("a", "b")):
        (tmp_path / "test" / name).mkdir(parents=True)
        image = Image.fromarray(rng.integers(0, 256, (90, 61, 3), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6  # To be turned by 90 degrees.
        image.save(tmp_path / "test" / name / "image.jpg", **({"exif": exif} if index else {}))
    transform = EvaluationTransform(30, 0.88)  # 34.09, rounded to 34
    expected = data.load(tmp_path, "test", image_size=34).center_crop((30, 30))
    for image, label in zip(expected.images, expected.labels, strict=True):
        path = tmp_path / "test" / expected.class_names[label] / "image.jpg"
        np.testing.assert_array_equal(transform.read(path), image)
        np.testing.assert_array_equal(transform.apply(pixels.decode(path)), image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 0)}, "`size` must be"),
        ({"size": None}, "`size` must be"),
        ({"crop_pct": 0}, "`crop_pct` must be above 0"),
        ({"crop_pct": 8 / 7}, r"`crop_pct` must be a finite number in \[0, 1\], got 1.14"),
        ({"crop_pct": math.nan}, "`crop_pct` must be a finite number"),
        ({"crop_pct": "0.875"}, "`crop_pct` must be a finite number"),
        ({"crop_pct": 1e-300}, "more than 32,768 pixels on a side"),
        ({"size": 10**6}, "more than 32,768 pixels on a side"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        EvaluationTransform(**{"size": (224, 224), **arguments})


def test_is_a_value():
    transform = EvaluationTransform([32, 32], np.float32(0.5))
    assert transform == EvaluationTransform((32, 32), 0.5)
    assert hash(transform) == hash(EvaluationTransform((32, 32), 0.5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.crop_pct = 1
