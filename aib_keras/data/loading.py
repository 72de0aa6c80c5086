"""One function for every source of images."""

import os
import pathlib

from aib_keras.data import folders, npz, tfds_source
from aib_keras.data.cluttered_digits import cluttered_digits
from aib_keras.data.splits import Split
from aib_keras.utils.checks import check_boolean, check_integer, check_path, check_size

_DIGITS = "cluttered_digits"
_DIGITS_SIZES = {"train": 6000, "test": 1500}


def load(
    name,
    split="train",
    *,
    data_dir=None,
    image_size=None,
    size=None,
    seed=0,
    crop_to_box=False,
    stream=None,
):
    """Loads labelled images: into memory, or to be read when they are needed.

    Args:
        name: One of
            - "cluttered_digits", which is generated
              (`aib_keras.data.cluttered_digits.cluttered_digits`);
            - the path of a folder that has a folder of images for each class, or folders train/
              and test/ that have these (`aib_keras.data.folders.load_folder`);
            - the path of an .npz file with x_train, y_train, x_test and y_test; several of them
              that are parts of one data set, as a list or a string with commas; or a folder of
              nothing but such files (`aib_keras.data.npz.load_npz`);
            - the name of a data set in TensorFlow Datasets (TFDS) such as "cifar10" or
              "svhn_cropped" (`aib_keras.data.tfds_source.load_tfds`).
        split: "train", "test" or a slice such as "train[:45000]", "train[-5000:]" or
            "train[90%:]". A TFDS data set may have other splits as well.
        data_dir: Folder where TFDS finds or puts its data sets. If it has a file NAME.npz, that is
            the data set of this name, which then needs neither TFDS nor TensorFlow. Other sources
            do not use it.
        image_size: Integer or (height, width) to which the images are resized (bilinear,
            antialiased), with their boxes. Required if the images have different sizes.
            `cluttered_digits` are drawn in this size and must be square.
        size: Integer, the number of cluttered digits before slicing. By default 6,000 in "train"
            and 1,500 in "test". For `cluttered_digits` only.
        seed: Non-negative integer, the seed of `cluttered_digits`. Other sources do not use it.
        crop_to_box: Boolean, whether to crop each image to its object's box before resizing it, as
            the paper does with CUB. For TFDS data sets with boxes. The result has no boxes.
        stream: Boolean, whether to read the images when they are needed instead of all at once,
            from a folder or TFDS. Training is the same either way, to the bit. None: if they need
            more than 8 GiB in memory.

    Returns:
        An `ImageData`; a `StreamedImageData` if the images are streamed.

    Raises:
        FileNotFoundError: If `name` is a path and nothing is there.
        ImportError: If the source needs scikit-learn, TensorFlow, TensorFlow Datasets or Grain,
            which is not installed.
        TypeError: If `name` or `data_dir` is not of a type described above.
        ValueError: If an argument or a file is not as described. The message names it.
    """
    split = Split.parse(split)
    target = None if image_size is None else check_size("image_size", image_size)
    data_dir = None if data_dir is None else check_path("data_dir", data_dir)
    if check_boolean("crop_to_box", crop_to_box) and not _is_tfds(name, data_dir):
        raise ValueError(
            f"`crop_to_box` is for TFDS data sets that have boxes, not for {name!r}: use "
            "crop_to_box=False."
        )
    if stream is not None:
        check_boolean("stream", stream)
    if stream and (name == _DIGITS or _npz_paths(name, data_dir)):
        raise ValueError(
            f"`stream` is for folders of images and TFDS data sets, not for {name!r}: leave it out."
        )
    if name == _DIGITS:
        return _load_digits(split, size, seed, target)
    if size is not None:
        raise ValueError(
            f'`size` is for {_DIGITS!r} only: use split="{split.name}[:{size}]" for the first '
            f"{size} examples of {name}."
        )
    if paths := _npz_paths(name, data_dir):
        return npz.load_npz(paths, split, target)
    name = os.fspath(name)
    path = pathlib.Path(name).expanduser()
    if path.is_dir() and not _is_prepared(name, data_dir):
        return folders.load_folder(path, split, target, stream)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is neither a folder nor an .npz file, which is expected.")
    if path.is_absolute() or name.startswith("."):
        raise FileNotFoundError(f"There is no folder {path}.")
    return tfds_source.load_tfds(name, split, target, data_dir, crop_to_box, stream)


def _load_digits(split, size, seed, target):
    split.require(tuple(_DIGITS_SIZES), _DIGITS)
    height, width = target or (32, 32)
    if height != width:
        raise ValueError(
            f"{_DIGITS} are square: `image_size` must have two equal sides, got {target}."
        )
    if size is None:
        size = _DIGITS_SIZES[split.name]
    start, stop = split.bounds(check_integer("size", size, minimum=1), _DIGITS)
    # An image does not depend on those behind it, which are not drawn.
    return cluttered_digits(split.name, stop, seed, height).slice(start, stop)


def _is_tfds(name, data_dir):
    if name == _DIGITS or _npz_paths(name, data_dir):
        return False
    return _is_prepared(os.fspath(name), data_dir) or not pathlib.Path(name).expanduser().exists()


def is_own(name, data_dir=None):
    """Returns whether `load` reads a name from a user's own files: no digits and no TFDS."""
    if name == _DIGITS or _is_prepared(name, data_dir):
        return False
    path = pathlib.Path(name).expanduser()
    if not os.path.exists(path):
        # Several .npz files.
        path = pathlib.Path(name.partition(",")[0]).expanduser()
    # Also where it has been moved since.
    return path.exists() or path.is_absolute() or name.startswith(".") or path.suffix == ".npz"


def _is_prepared(name, data_dir):
    """Whether `name` is a data set in `data_dir`, even if a folder here has the same name."""
    if any(mark in name for mark in "/.~\\") or data_dir is None:
        return False
    data_dir = pathlib.Path(data_dir)
    return (data_dir / name).is_dir() or (data_dir / f"{name}.npz").is_file()


def _npz_paths(name, data_dir):
    """Returns the .npz files that `name` stands for; none if it stands for something else."""
    if isinstance(name, str) and _is_prepared(name, data_dir):
        path = pathlib.Path(data_dir) / f"{name}.npz"
        return [path] if path.is_file() else []
    if isinstance(name, (list, tuple)):
        parts = [check_path("name", part) for part in name]
        if not parts:
            raise ValueError("`name` is an empty list: it needs at least one .npz file.")
    elif isinstance(name, (str, os.PathLike)):
        text = os.fspath(name)
        folder = pathlib.Path(text).expanduser()
        # Not the methods of `Path`, which fail for a long list.
        if os.path.isdir(folder):
            files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
            return files if all(path.suffix == ".npz" for path in files) else []
        is_one = isinstance(name, os.PathLike) or os.path.exists(folder)
        parts = [text] if is_one else [part.strip() for part in text.split(",")]
        if not any(part.endswith(".npz") for part in parts):
            return []
    else:
        raise TypeError(f"`name` must be a string, a path or a list of .npz files, got {name!r}.")
    paths = [pathlib.Path(part).expanduser() for part in parts]
    if wrong := [path for path in paths if path.suffix != ".npz"]:
        raise ValueError(f"A list of files must have only .npz files; got {wrong[0]}.")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
    return paths
