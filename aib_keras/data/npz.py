"""Images in .npz files, as `keras.datasets` lays them out."""

import zipfile
import zlib

import numpy as np

from aib_keras.data import pixels
from aib_keras.data.image_data import ImageData

_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(paths, split, image_size):
    """Reads x_train, y_train, x_test and y_test, or what of them a split needs.

    Several files are parts of one data set: the arrays of each key are joined in the order of the
    files, and a part need not have every key. Optional arrays: box_train and box_test, numbers
    (N, 4) as in `ImageData`, and class_names, strings (C,). Without names the classes are 0 up to
    the largest label of both splits. The order of the examples is that of the files.

    Args:
        paths: Paths of the files.
        split: A `Split` named "train" or "test".
        image_size: (height, width) to resize to, or None.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: If a file or an array is not as described. Images must be uint8 (N, H, W) or
            (N, H, W, 1, 3 or 4), labels integers (N,) or (N, 1).
    """
    source = ", ".join(str(path) for path in paths)
    split.require(("train", "test"), source)
    with _Parts(paths) as parts:
        x, y, box = f"x_{split.name}", f"y_{split.name}", f"box_{split.name}"
        found = parts.keys
        if missing := [key for key in (x, y) if key not in found]:
            raise ValueError(
                f"{source} has no {' and no '.join(missing)}; it has "
                f"{', '.join(found) or 'nothing'}, and {', '.join(_KEYS)} are expected."
            )
        images, labels = parts.read(x), _check_labels(parts.read(y), y, source)
        names = _class_names(parts, source)
        boxes = parts.read(box) if box in found else None
    _check_images(images, x, source)
    if len(images) != len(labels):
        raise ValueError(f"{source}: {x} has {len(images)} images and {y} {len(labels)} labels.")
    start, stop = split.bounds(len(images), source)
    if boxes is not None:
        if boxes.dtype.kind not in "iuf" or boxes.shape != (len(images), 4):
            raise ValueError(
                f"{source}: {box} must be numbers ({len(images)}, 4); "
                f"got {boxes.dtype} {boxes.shape}."
            )
        boxes = boxes[start:stop].astype(np.float32)
        if image_size is not None:
            boxes = pixels.resize_boxes(boxes, images.shape[1:3], image_size)
    return ImageData(
        _to_rgb(images[start:stop], image_size, source),
        labels[start:stop].astype(np.int32),
        names,
        boxes,
        source,
    )


class _Parts:
    """Several open .npz files, read as if they were one."""

    def __init__(self, paths):
        self._paths = paths
        self._files = []

    def __enter__(self):
        for path in self._paths:
            try:
                self._files.append(np.load(path, allow_pickle=False))
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                self.__exit__()
                if isinstance(error, (FileNotFoundError, PermissionError)):
                    raise
                raise ValueError(f"{path} is not a readable .npz file ({error}).") from error
            if not hasattr(self._files[-1], "files"):
                self._files.pop()
                self.__exit__()
                raise ValueError(f"{path} holds a single array, it is not an .npz file.")
        return self

    def __exit__(self, *_):
        for file in self._files:
            file.close()

    @property
    def keys(self):
        return sorted({key for file in self._files for key in file.files})

    def read_each(self, key):
        """The arrays of this key with their files' paths."""
        arrays = []
        for path, file in zip(self._paths, self._files, strict=True):
            if key in file.files:
                try:
                    arrays.append((path, file[key]))
                except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                    raise ValueError(
                        f"{path}: {key} cannot be read ({error}). The file may be damaged, or the "
                        "array be one of Python objects, which are not loaded for safety: save "
                        "numbers, or strings as np.array(names, dtype=str)."
                    ) from error
        return arrays

    def read(self, key):
        """The arrays of this key, joined."""
        arrays = self.read_each(key)
        (first_path, first), *others = arrays
        for path, array in others:
            if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
                raise ValueError(
                    f"The parts of {key} do not fit together: {first_path} has {first.dtype} "
                    f"{first.shape}, {path} has {array.dtype} {array.shape}."
                )
        return np.concatenate([array for _, array in arrays]) if others else first


def _check_labels(labels, key, source):
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise ValueError(
            f"{source}: {key} has shape {labels.shape}, which looks one-hot; integer labels (N,) "
            "are expected: save it as y.argmax(axis=-1)."
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{source}: {key} must be integers of shape (N,) or (N, 1); "
            f"got {labels.dtype} {labels.shape}."
        )
    if len(labels) and int(labels.min()) < 0:
        raise ValueError(f"{source}: {key} has the negative label {labels.min()}.")
    return labels


def _class_names(parts, source):
    """The names given, or numbers up to the largest label, so that both splits agree."""
    keys = [key for key in ("y_train", "y_test") if key in parts.keys]
    highest = 0
    for key in keys:
        labels = _check_labels(parts.read(key), key, source)
        highest = max(highest, int(labels.max(initial=0)))
    given = [array.astype(str).tolist() for _, array in parts.read_each("class_names")]
    if not given:
        return tuple(str(label) for label in range(highest + 1))
    if any(names != given[0] for names in given) or not isinstance(given[0], list):
        raise ValueError(f"{source}: class_names must be one list of names, the same in each part.")
    if highest >= len(given[0]):
        raise ValueError(
            f"{source}: there are {len(given[0])} class_names, but labels up to {highest}."
        )
    return tuple(given[0])


def _check_images(images, key, source):
    if images.dtype.kind == "f":
        low, high = (images.min(), images.max()) if images.size else (0, 0)
        raise ValueError(
            f"{source}: {key} is {images.dtype} in [{low:g}, {high:g}]; uint8 in [0, 255] is "
            "expected: save it so, since the range cannot be known for sure."
        )
    if images.dtype != np.uint8:
        raise ValueError(f"{source}: {key} must be uint8 in [0, 255]; got {images.dtype}.")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3, 4)):
        raise ValueError(
            f"{source}: {key} must have shape (N, H, W), or (N, H, W, channels) with 1, 3 or 4 "
            f"channels last; got {images.shape}."
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
