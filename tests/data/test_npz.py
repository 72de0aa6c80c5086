import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from aib_keras.data import load, pixels
from aib_keras.data.loading import is_own


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


def test_a_file_in_the_folder_of_data_sets_has_the_name_of_a_data_set(save, tmp_path):
    path = save("cifar10.npz")
    found = load("cifar10", "test", data_dir=tmp_path)
    np.testing.assert_array_equal(found.images, load(path, "test").images)
    assert not is_own("cifar10", tmp_path)
    assert is_own(str(path), tmp_path)
    for settings in ({"stream": True}, {"crop_to_box": True}):
        with pytest.raises(ValueError, match="not for 'cifar10'"):
            load("cifar10", data_dir=tmp_path, **settings)


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


@pytest.mark.parametrize("box", [[0.1, 0.2, 0.8, 0.9], [0, 0, 80, 90]])
def test_boxes_that_are_no_pixels_are_refused(save, box):
    with pytest.raises(ValueError, match="box_train must be y0, x0, y1, x1 in pixels"):
        load(save(box_train=np.tile(np.float32(box), (6, 1))))


def test_many_parts_and_commas_in_names(save, tmp_path):
    path = save()
    many = ",".join([str(path)] * 200)
    assert len(load(many)) == 200 * len(load(path))
    assert is_own(many)
    (tmp_path / "a,b").mkdir()
    assert len(load(path.rename(tmp_path / "a,b" / "c,d.npz"))) == 6


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
        ({"y_train": np.arange(5)}, "6 images and y_train has 5 labels"),
        ({"y_train": np.arange(6), "class_names": np.array(["a", "b"])}, "2 class_names.*up to 5"),
        ({"class_names": np.array(["a", "b"], dtype=object)}, "dtype=str"),
        ({"class_names": np.array("abcd")}, "class_names must be one list of at most"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 10**8])}, "largest label is 100000000"),
        ({"y_test": np.array([0, 1, 2**63], np.uint64)}, "largest label is 9223372036854775808"),
        ({"x_train": np.full((6, 4, 5, 3), 0.5)}, r"must be uint8 in \[0, 255\]; got float64"),
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


def bomb(path, member, shape, dtype, kept=None):
    """Adds an array of zeros to an .npz file, or a header for it with other data."""
    header = io.BytesIO()
    description = {"shape": shape, "fortran_order": False, "descr": np.dtype(dtype).str}
    np.lib.format.write_array_header_1_0(header, description)
    length = int(np.prod(shape)) * np.dtype(dtype).itemsize if kept is None else kept
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{member}.npy", "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for start in range(0, length, 2**20):
            file.write(bytes(min(2**20, length - start)))


@pytest.mark.parametrize(
    ("member", "shape", "dtype", "message"),
    [
        ("x_train", (2**22, 4, 4, 1), np.float32, "x_train must be uint8"),
        ("x_train", (2**28,), np.uint8, r"must have the shape \(N, H, W\)"),
        ("x_train", (2**24, 4, 4), np.uint8, "16777216 images and y_train has 6 labels"),
        ("y_train", (2**25,), np.int64, "6 images and y_train has 33554432 labels"),
        ("box_train", (2**24, 4), np.float32, r"box_train must be numbers \(6, 4\)"),
        ("class_names", (2**26,), "U1", "class_names must be one list of at most 100,000"),
    ],
)
def test_bombs_are_refused_before_they_are_read(save, member, shape, dtype, message):
    path = save(**{member: None})
    bomb(path, member, shape, dtype)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Each array has 256 MiB.
    assert peak < 2**24


def test_more_than_the_memory_that_is_allowed_is_refused(save, monkeypatch):
    monkeypatch.setattr(pixels, "MAX_BYTES", 400)
    with pytest.raises(ValueError, match=r"data\.npz needs .* GiB of memory.*x_train is uint8"):
        load(save())


def test_a_header_that_announces_more_than_there_is(save):
    path = save(x_train=None)
    bomb(path, "x_train", (2**40, 4, 5, 3), np.uint8, kept=360)
    with pytest.raises(ValueError, match=r"x_train cannot be read.*announces uint8 \(1099"):
        load(path)


def test_other_splits(save):
    with pytest.raises(ValueError, match=r"no split 'val'; it has 'train', 'test'"):
        load(save(), "val")
