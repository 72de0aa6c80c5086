import numpy as np
import pytest

from aib_keras.data import ImageData


def make(n=6, **changes):
    fields = {
        "images": np.zeros((n, 4, 5, 3), np.uint8),
        "labels": np.arange(n, dtype=np.int32) % 2,
        "class_names": ("cat", "dog"),
        "boxes": np.tile(np.array([0, 1, 3, 4], np.float32), (n, 1)),
        "name": "pets",
    }
    return ImageData(**{**fields, **changes})


def test_properties():
    data = make()
    assert len(data) == 6
    assert data.num_classes == 2
    assert data.input_shape == (4, 5, 3)
    assert "pets" in repr(data)


def test_take_is_the_first():
    data = make().take(3)
    np.testing.assert_array_equal(data.labels, [0, 1, 0])
    assert data.boxes.shape == (3, 4)


def test_hold_out_is_the_last():
    data = make()
    rest, held = data.hold_out(1)
    assert (len(rest), len(held)) == (5, 1)
    np.testing.assert_array_equal(np.concatenate([rest.labels, held.labels]), data.labels)


def test_take_says_what_there_is():
    with pytest.raises(ValueError, match="pets: cannot take 7 of 6"):
        make().take(7)


def test_hold_out_leaves_some():
    with pytest.raises(ValueError, match="pets: cannot hold out 6 of 6 examples"):
        make().hold_out(6)


@pytest.mark.parametrize("n", [0, -1, 2.0, "2", True])
def test_take_and_hold_out_need_positive_integers(n):
    for method in (make().take, make().hold_out):
        with pytest.raises(ValueError, match="`n` must be an integer of at least 1"):
            method(n)


def test_center_crop_takes_the_middle_and_the_boxes_with_it():
    images = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)
    boxes = np.array([[0, 0, 6, 8], [2, 3, 4, 7]], np.float32)
    data = ImageData(images, np.array([0, 1], np.int32), ("a", "b"), boxes)
    cropped = data.center_crop((4, 5))
    np.testing.assert_array_equal(cropped.images, images[:, 1:5, 1:6])
    np.testing.assert_array_equal(cropped.boxes, [[0, 0, 4, 5], [1, 2, 3, 5]])
    assert cropped.labels is data.labels
    np.testing.assert_array_equal(data.center_crop(np.int64(4)).images, images[:, 1:5, 2:6])
    with pytest.raises(ValueError, match=r"cannot crop.*\(7, 5\)"):
        data.center_crop((7, 5))


@pytest.mark.parametrize("size", [(0, 0), (4, -1), (4,), (4, 4, 3), 2.5, "4", None])
def test_center_crop_needs_a_size(size):
    with pytest.raises(ValueError, match="`size` must be an integer of at least 1 or a pair"):
        make().center_crop(size)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": np.zeros((6, 4, 5, 3), np.float32)}, TypeError, "uint8; got float32"),
        ({"images": np.zeros((6, 4, 5), np.uint8)}, ValueError, "shape"),
        ({"images": np.zeros((6, 4, 5, 1), np.uint8)}, ValueError, "shape"),
        ({"images": [[0]]}, TypeError, "list"),
        ({"labels": np.zeros(6)}, TypeError, "labels must be integers; got float64"),
        ({"labels": np.full(6, 2**32)}, ValueError, r"\[0, 2\).*4294967296"),
        ({"labels": np.zeros(5, np.int32)}, ValueError, r"\(6\); got \(5,\)"),
        ({"labels": np.full(6, 2, np.int32)}, ValueError, r"\[0, 2\).*\[2, 2\]"),
        ({"labels": np.full(6, -1, np.int32)}, ValueError, r"\[-1, -1\]"),
        ({"class_names": ("crane", "crane")}, ValueError, "'crane' appears twice"),
        ({"class_names": ("cat", "")}, ValueError, "'' is not one line"),
        ({"class_names": ("cat", "a\rb")}, ValueError, "is not one line"),
        ({"class_names": ("cat",), "labels": np.zeros(6, np.int32)}, ValueError, "two classes"),
        ({"boxes": np.zeros((5, 4), np.float32)}, ValueError, "boxes must have shape"),
        ({"boxes": np.zeros((6, 4))}, TypeError, "float32; got float64"),
        ({"boxes": np.full((6, 4), np.nan, np.float32)}, ValueError, "box 0"),
        ({"boxes": np.tile(np.float32([3, 0, 1, 1]), (6, 1))}, ValueError, "y0 <= y1"),
        ({"images": np.zeros((0, 4, 5, 3), np.uint8)}, ValueError, "no images"),
    ],
)
def test_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        make(**changes)


def test_boxes_that_a_crop_leaves_without_an_area_are_not_visible():
    boxes = np.array([[0, 0, 2, 2], [4, 4, 6, 6]], "float32")
    images, labels = np.zeros((2, 8, 8, 3), "uint8"), np.array([0, 1], "int32")
    data = ImageData(images, labels, ("a", "b"), boxes)
    assert data.has_visible_box.tolist() == [True, True]
    assert data.center_crop((4, 4)).has_visible_box.tolist() == [False, True]
