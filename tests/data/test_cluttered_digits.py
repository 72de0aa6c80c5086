import numpy as np
import pytest
from sklearn.datasets import load_digits

from aib_keras.data import cluttered_digits as module
from aib_keras.data import load
from aib_keras.data.cluttered_digits import cluttered_digits, digit_indices


def scene_of(split, count):
    glyphs, _ = module._glyphs(split)
    return module._Scene(module._draws(split, 0, range(count)), len(glyphs)), glyphs


def test_shapes_and_classes():
    data = cluttered_digits("train", 300)
    assert data.images.shape == (300, 32, 32, 3)
    assert data.class_names == tuple("0123456789")
    assert set(data.labels) == set(range(10))


def test_an_image_does_not_depend_on_the_size():
    small, large = cluttered_digits("train", 3), cluttered_digits("train", 260)
    np.testing.assert_array_equal(small.images, large.images[:3])
    np.testing.assert_array_equal(small.boxes, large.boxes[:3])
    np.testing.assert_array_equal(small.labels, large.labels[:3])


def test_seed_and_split_matter():
    data = cluttered_digits("train", 5)
    assert (data.images == cluttered_digits("train", 5).images).all()
    assert (data.images != cluttered_digits("train", 5, seed=1).images).any()
    assert (data.images != cluttered_digits("test", 5).images).any()


def test_splits_share_no_digit():
    classes = load_digits().target
    train, test = (digit_indices(split, classes) for split in ("train", "test"))
    assert not set(train) & set(test)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(1797))
    shares = np.bincount(classes[test]) / np.bincount(classes)
    np.testing.assert_allclose(shares, 0.2, atol=0.01)
    # Objects and clutter alike are drawn from the split's own digits.
    for split, indices in (("train", train), ("test", test)):
        scene, glyphs = scene_of(split, 200)
        np.testing.assert_array_equal(glyphs, load_digits().images[indices] / np.float32(16))
        assert scene.glyph.min() >= 0
        assert scene.glyph.max() < len(indices)
        assert (scene.glyph[:, 1:] != scene.glyph[:, :1]).all()


@pytest.mark.parametrize("side", [32, 48])
def test_boxes_are_tight_around_the_ink(side):
    data = cluttered_digits("test", 100, image_size=side)
    scene, glyphs = scene_of("test", 100)
    images, ink = scene.render(glyphs, side)
    np.testing.assert_array_equal(images, data.images)
    for box, visible in zip(data.boxes.astype(int), ink >= module._VISIBLE, strict=True):
        y0, x0, y1, x1 = box
        inside = visible[y0:y1, x0:x1]
        assert inside.sum() == visible.sum() > 0
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_the_digit_is_whole_contrasting_and_on_top():
    scene, glyphs = scene_of("train", 200)
    images, ink = scene.render(glyphs, 32)
    # Nothing is cut off at the border, and solid ink has the digit's own colour.
    for edge in (ink[:, 0], ink[:, -1], ink[:, :, 0], ink[:, :, -1]):
        assert edge.max() < 0.7
    solid = ink == 1
    tint = np.round(scene.tint[:, 0] * 255)[:, None, None]
    assert np.abs(images - tint)[solid].max() <= 1
    weights = np.array([0.299, 0.587, 0.114])
    backdrop = scene._backdrop(32) @ weights
    contrast = np.abs((scene.tint[:, 0] @ weights)[:, None, None] - backdrop)
    assert np.quantile(contrast, 0.01) > 0.1


def test_load():
    assert len(load("cluttered_digits", "test")) == 1500
    sides = (np.int64(40), np.int32(40))
    data = load("cluttered_digits", "train[50%:]", size=np.int64(20), image_size=sides, seed=2**40)
    whole = cluttered_digits("train", 20, seed=2**40, image_size=40)
    np.testing.assert_array_equal(data.images, whole.images[10:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "'train', 'test'"),
        ({"size": 0}, "`size` must be"),
        ({"size": 2.0}, "`size` must be"),
        ({"size": 10**10}, "10000000000 images of 32x32 need"),
        ({"size": 5, "seed": -1}, "`seed` must be"),
        ({"size": 5, "image_size": 8}, "`image_size` must be"),
        ({"image_size": (32, 48)}, "square"),
        ({"split": "train[:7000]"}, "6000 examples"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        load("cluttered_digits", **arguments)
