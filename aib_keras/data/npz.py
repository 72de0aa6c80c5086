"""Images in .npz files, in the layout of `keras.datasets`."""

import contextlib
import dataclasses
import math
import pathlib

import numpy as np

from aib_keras.data import pixels
from aib_keras.data.image_data import ImageData
from aib_keras.utils.checks import MAX_CLASSES, check_label_range

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_npz(paths, split, image_size):
    """Reads x_train, y_train, x_test and y_test, or those of them that a split needs.

    Several files are parts of one data set: the arrays of each key are joined in the order of the
    files, and a part need not have every key. Optional arrays are box_train and box_test, numbers
    `(N, 4)` as in `ImageData`, and class_names, strings `(C,)`. Without class_names the classes are
    the numbers from 0 to the largest label of both splits. The examples stay in the order of the
    files.

    Types, shapes and sizes are checked before any array is read, so that a small compressed file
    cannot fill the memory.

    Args:
        paths: Paths of the files.
        split: A `Split` named "train" or "test".
        image_size: (height, width) to resize to, or None.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: If a file or an array is not as described. Images must be uint8 `(N, H, W)` or
            `(N, H, W, 1, 3 or 4)`, labels integers `(N,)` or `(N, 1)`, less than 100,000.
    """
    source = ", ".join(str(path) for path in paths)
    split.require(("train", "test"), source)
    x, y, box = f"x_{split.name}", f"y_{split.name}", f"box_{split.name}"
    with contextlib.ExitStack() as stack:
        parts = _Parts([stack.enter_context(_File(path)) for path in paths])
        found = parts.keys
        if missing := [key for key in (x, y) if key not in found]:
            raise ValueError(
                f"{source} has no {' and no '.join(missing)}; it has "
                f"{', '.join(found) or 'nothing'}, and {', '.join(_KEYS)} are expected."
            )
        label_keys = [key for key in ("y_train", "y_test") if key in found]
        wanted = [x, *label_keys, *(key for key in (box, "class_names") if key in found)]
        headers = {key: parts.header(key) for key in wanted}
        _check_size(headers, source)
        _check_images(headers[x], source)
        for key in label_keys:
            _check_labels(headers[key], source)
        count = headers[x].shape[0]
        if headers[y].shape[0] != count:
            raise ValueError(
                f"{source}: {x} has {count} images and {y} has {headers[y].shape[0]} labels."
            )
        if box in found:
            _check_boxes(headers[box], count, source)
        labels = {key: parts.read(key).reshape(-1) for key in label_keys}
        names = _class_names(parts, labels, source)
        start, stop = split.bounds(count, source)
        images = parts.read(x)
        boxes = parts.read(box)[start:stop].astype(np.float32) if box in found else None
    if boxes is not None:
        _check_are_pixels(boxes, images.shape[1:3], f"{source}: {box}")
    if boxes is not None and image_size is not None:
        boxes = pixels.resize_boxes(boxes, images.shape[1:3], image_size)
    return ImageData(
        _to_rgb(images[start:stop], image_size, source),
        labels[y][start:stop].astype(np.int32),
        names,
        boxes,
        source,
    )


@dataclasses.dataclass(frozen=True)
class _Header:
    """What an array is, without reading it."""

    key: str
    path: pathlib.Path
    shape: tuple
    dtype: np.dtype

    @property
    def bytes(self):
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self):
        return f"{self.dtype} {self.shape}"


class _File:
    """An open .npz file."""

    def __init__(self, path):
        self.path = path
        # Opened here, because NumPy leaves a broken file open.
        self._stream = open(path, "rb")  # noqa: SIM115
        try:
            self._file = np.load(self._stream, allow_pickle=False)
        except Exception as error:  # For broken files NumPy raises errors of any type.
            self._stream.close()
            raise ValueError(f"{path} is not a readable .npz file ({error}).") from error
        if not hasattr(self._file, "files"):
            self._stream.close()
            raise ValueError(f"{path} is not an .npz file: it holds a single array.")
        self.keys = tuple(self._file.files)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._stream.close()

    def header(self, key):
        with self._readable(key):
            # NumPy leaves the ending out of the keys.
            member = key if key in self._file.zip.namelist() else f"{key}.npy"
            with self._file.zip.open(member) as stream:
                shape, _, dtype = _READ_HEADER[np.lib.format.read_magic(stream)](stream)
            header = _Header(key, self.path, shape, dtype)
            available = self._file.zip.getinfo(member).file_size
            if header.bytes > available and not dtype.hasobject:
                raise ValueError(f"its header announces {header}, but it has {available} bytes")
        if dtype.hasobject:
            raise ValueError(
                f"{self.path}: {key} is an array of Python objects, which are not loaded for "
                "safety: save numbers, or strings as np.array(names, dtype=str)."
            )
        return header

    def read(self, key):
        with self._readable(key):
            return self._file[key]

    @contextlib.contextmanager
    def _readable(self, key):
        try:
            yield
        except Exception as error:  # For broken files zipfile and NumPy raise errors of any type.
            raise ValueError(
                f"{self.path}: {key} cannot be read ({error}). The file may be damaged: save it "
                "again with np.savez."
            ) from error


class _Parts:
    """Several .npz files, read as if they were one."""

    def __init__(self, files):
        self._files = files
        self.keys = sorted({key for file in files for key in file.keys})

    def headers(self, key):
        """Returns the `_Header` of each array of a key."""
        return [file.header(key) for file in self._having(key)]

    def header(self, key):
        """Returns the `_Header` of the joined arrays of a key.

        Raises:
            ValueError: If they cannot be joined.
        """
        first, *others = self.headers(key)
        if not others:
            return first
        for other in others:
            if not other.shape or (other.shape[1:], other.dtype) != (first.shape[1:], first.dtype):
                raise ValueError(
                    f"The parts of {key} do not fit together: {first.path} has {first}, "
                    f"{other.path} has {other}."
                )
        count = sum(header.shape[0] for header in (first, *others))
        return dataclasses.replace(first, shape=(count, *first.shape[1:]))

    def read_each(self, key):
        """Returns the arrays of a key."""
        return [file.read(key) for file in self._having(key)]

    def read(self, key):
        """Returns the joined arrays of a key."""
        arrays = self.read_each(key)
        return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]

    def _having(self, key):
        return [file for file in self._files if key in file.keys]


def _check_size(headers, source):
    needed = sum(header.bytes for header in headers.values())
    if needed > pixels.MAX_BYTES:
        sizes = ", ".join(f"{key} is {header}" for key, header in headers.items())
        raise ValueError(
            f"{source} needs {needed / 1024**3:.1f} GiB of memory, more than the "
            f"{pixels.MAX_BYTES / 1024**3:.3g} GiB allowed: {sizes}. Save fewer or smaller images."
        )


def _check_labels(header, source):
    shape, dtype = header.shape, header.dtype
    if len(shape) == 2 and shape[1] != 1:
        raise ValueError(
            f"{source}: {header.key} has the shape {shape}, which looks one-hot; integer labels "
            "(N,) are expected: save it as y.argmax(axis=-1)."
        )
    if len(shape) not in (1, 2) or dtype.kind not in "iu":
        raise ValueError(
            f"{source}: {header.key} must be integers of shape (N,) or (N, 1); got {header}."
        )


def _check_boxes(header, count, source):
    if header.dtype.kind not in "iuf" or header.shape != (count, 4):
        raise ValueError(f"{source}: {header.key} must be numbers ({count}, 4); got {header}.")


def _check_are_pixels(boxes, size, what):
    """Raises a ValueError for boxes that are fractions of images, or larger than these."""
    height, width = size
    beyond = (boxes[:, 2] > height + 1) | (boxes[:, 3] > width + 1)
    if beyond.any() or (len(boxes) and boxes.max() <= 1):
        raise ValueError(
            f"{what} must be y0, x0, y1, x1 in pixels of images of {height}x{width}, got "
            f"{boxes[int(np.argmax(beyond))].tolist()}, for instance."
        )


def _class_names(parts, labels, source):
    """Returns the class names; without any, numbers up to the largest label of both splits."""
    highest = 0
    for key, values in labels.items():
        check_label_range(source, key, values)
        highest = max(highest, int(values.max(initial=0)))
    if "class_names" not in parts.keys:
        return tuple(str(label) for label in range(highest + 1))
    headers = parts.headers("class_names")
    given = []
    if all(len(one.shape) == 1 and one.shape[0] <= MAX_CLASSES for one in headers):
        given = [array.astype(str).tolist() for array in parts.read_each("class_names")]
    if not given or any(names != given[0] for names in given):
        raise ValueError(
            f"{source}: class_names must be one list of at most {MAX_CLASSES:,} names, the same "
            f"in each part; got {', '.join(map(str, headers))}."
        )
    if highest >= len(given[0]):
        raise ValueError(
            f"{source}: there are {len(given[0])} class_names, but labels up to {highest}."
        )
    return tuple(given[0])


def _check_images(header, source):
    shape, dtype = header.shape, header.dtype
    if dtype != np.uint8:
        raise ValueError(
            f"{source}: {header.key} must be uint8 in [0, 255]; got {dtype}. Convert the images "
            "before saving them: those in [0, 1] with np.round(255 * x).astype(np.uint8)."
        )
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[-1] not in (1, 3, 4)):
        raise ValueError(
            f"{source}: {header.key} must have the shape (N, H, W), or (N, H, W, channels) with 1, "
            f"3 or 4 channels last; got {shape}."
        )


def _to_rgb(images, size, source):
    size = size or images.shape[1:3]
    if images.shape[1:] == (*size, 3):
        return images
    pixels.check_memory(len(images), *size, source)
    result = np.empty((len(images), *size, 3), np.uint8)
    for index, image in enumerate(images):
        result[index] = pixels.convert(image, size)
    return result
