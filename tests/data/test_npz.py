import numpy as np
import pytest

from aib_keras.data import load


def arrays(**changes):
    rng = np.random.default_rng(0)
    found = {
        "x_train": rng.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": rng.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8),
        "y_test": np.array([[0], [1], [3]], np.uint8),
        **changes,
    }
    return {key: array for key, array in found.items() if array is not None}


@pytest.fixture
def save(tmp_path):
    def write(name="data.npz", **changes):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, **arrays(**changes))
        return path

    return write


def test_round_trip(save):
    path = save()
    train, test = load(path), load(str(path), "test")
    np.testing.assert_array_equal(train.images, arrays()["x_train"])
    np.testing.assert_array_equal(train.labels, arrays()["y_train"])
    np.testing.assert_array_equal(test.labels, [0, 1, 3])
    # Both splits have the classes of both.
    assert train.class_names == test.class_names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(load(path, "train[2:4]").images, arrays()["x_train"][2:4])


def test_names_boxes_and_resizing(save):
    box = np.tile([1, 0, 3, 5], (6, 1))
    path = save(class_names=np.array(list("abcd")), box_train=box)
    data = load(path, "train[:2]", image_size=(8, 10))
    assert data.class_names == tuple("abcd")
    assert data.images.shape == (2, 8, 10, 3)
    assert data.boxes.tolist() == [[2, 0, 6, 10]] * 2


@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 4, 5, 1)])
def test_grey(save, shape):
    grey = np.arange(120, dtype=np.uint8).reshape(shape)
    images = load(save(x_train=grey)).images
    np.testing.assert_array_equal(images, np.repeat(grey.reshape(6, 4, 5, 1), 3, axis=-1))


def test_opacity_is_composited_over_white(save):
    rgba = np.zeros((6, 4, 5, 4), np.uint8)
    rgba[..., 3] = np.array([0, 255, 51, 0, 0, 0])[:, None, None]
    assert load(save(x_train=rgba)).images[:3, 0, 0, 0].tolist() == [255, 0, 204]


def test_parts(save, tmp_path):
    first = save("parts/a.npz", x_test=None, y_test=None)
    second = save("parts/b.npz", x_train=arrays()["x_train"][:1], y_train=np.array([3]))
    for name in ([first, second], f"{first},{second}", (str(first), str(second)), first.parent):
        data = load(name)
        assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 3]
        np.testing.assert_array_equal(data.images[:6], arrays()["x_train"])
        assert len(load(name, "test")) == 3
    with pytest.raises(FileNotFoundError, match=r"c\.npz"):
        load([first, tmp_path / "c.npz"])
    third = save("parts/c.npz", x_train=np.zeros((6, 9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r"(?s)do not fit.*a\.npz has.*c\.npz has"):
        load([first, third])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, "no x_train; it has x_test, y_test, y_train, and x_train"),
        ({"y_train": np.eye(6, dtype=int)}, "one-hot.*argmax"),
        ({"y_train": np.zeros(6)}, "must be integers.*float64"),
        ({"y_train": np.arange(6) - 1}, "negative label -1"),
        ({"y_train": np.arange(5)}, "6 images and y_train 5 labels"),
        ({"y_train": np.arange(6), "class_names": np.array(["a", "b"])}, "2 class_names.*up to 5"),
        ({"class_names": np.array(["a", "b"], dtype=object)}, "dtype=str"),
        ({"x_train": np.full((6, 4, 5, 3), 0.5)}, r"float64 in \[0.5, 0.5\]; uint8"),
        ({"x_train": np.zeros((6, 4, 5, 3), int)}, "must be uint8.*int64"),
        ({"x_train": np.zeros((6, 3, 4, 5), np.uint8)}, "channels last"),
        ({"box_train": np.zeros((5, 4))}, "box_train must be numbers"),
        ({"y_train": np.zeros(6, int), "y_test": np.zeros(3, int)}, "at least two classes"),
    ],
)
def test_refuses(save, changes, message):
    path = save(**changes)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert "data.npz" in str(caught.value)


def test_corrupt_files(save, tmp_path):
    path = save()
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[60:400] = bytes(340)
    for broken in (b"", b"nonsense", content[: len(content) // 2], bytes(damaged)):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"data\.npz"):
            load(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="single array"):
        load(path)


def test_other_splits(save):
    with pytest.raises(ValueError, match=r"no split 'val'; it has 'train', 'test'"):
        load(save(), "val")
