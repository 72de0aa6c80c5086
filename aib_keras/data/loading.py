"""One function for every source of images."""

import os
import pathlib

from aib_keras.data import folders, npz, pixels, tfds_source
from aib_keras.data.cluttered_digits import cluttered_digits
from aib_keras.data.splits import Split

_DIGITS = "cluttered_digits"
_DIGITS_SIZES = {"train": 6000, "test": 1500}


def load(
    name, split="train", *, data_dir=None, image_size=None, size=None, seed=0, crop_to_box=False
):
    """Loads labelled images into memory.

    Args:
        name: One of
            - "cluttered_digits", which is made on the spot
              (`aib_keras.data.cluttered_digits.cluttered_digits`);
            - a folder with a folder of images for each class, or with these inside train/ and
              test/ (`aib_keras.data.folders.load_folder`);
            - an .npz file with x_train, y_train, x_test and y_test; a list, or a string with
              commas, of several that are parts of one data set; or a folder of nothing but
              such files (`aib_keras.data.npz.load_npz`);
            - a name in TensorFlow Datasets such as "cifar10" or "svhn_cropped"
              (`aib_keras.data.tfds_source.load_tfds`).
        split: "train", "test" or a slice such as "train[:45000]", "train[-5000:]" or
            "train[90%:]". A TFDS name may have other splits as well.
        data_dir: Where TFDS has, or will put, its data sets; other sources do not use it.
        image_size: int or (height, width). Resizes the images (bilinear, antialiased); boxes
            follow. Required where the images have different sizes. `cluttered_digits` are drawn
            in this size and must be square.
        size: Number of cluttered digits: 6,000 to train and 1,500 to test by default. Slices are
            taken of these.
        seed: Seed of `cluttered_digits`; other sources do not use it.
        crop_to_box: Crop each image to its object's box before it is resized, as the paper does
            with CUB. For TFDS data sets with boxes; the result has none.

    Returns:
        An `ImageData`.

    Raises:
        FileNotFoundError: If `name` is a path and nothing is there.
        ImportError: If `name` needs TensorFlow Datasets and it is not installed.
        ValueError: If an argument or a file is not as described. The message names it.
    """
    split = Split.parse(split)
    target = pixels.parse_size(image_size)
    if crop_to_box and not _is_tfds(name, data_dir):
        raise ValueError(
            f"crop_to_box is for data sets of TFDS that have boxes, not for {name!r}: use "
            "crop_to_box=False (in the recipes --nocrop_to_box)."
        )
    if name == _DIGITS:
        return _load_digits(split, size, seed, target)
    if size is not None:
        raise ValueError(
            f'size is for {_DIGITS!r} only; write split="{split.name}[:{size}]" for the first '
            f"{size} examples of {name}."
        )
    if paths := _npz_paths(name):
        return npz.load_npz(paths, split, target)
    name = os.fspath(name)
    path = pathlib.Path(name).expanduser()
    if path.is_dir() and not _is_prepared(name, data_dir):
        return folders.load_folder(path, split, target)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is neither a folder nor an .npz file.")
    if path.is_absolute() or name.startswith("."):
        raise FileNotFoundError(f"There is no folder {path}.")
    return tfds_source.load_tfds(name, split, target, data_dir, crop_to_box)


def _load_digits(split, size, seed, target):
    split.require(tuple(_DIGITS_SIZES), _DIGITS)
    height, width = target or (32, 32)
    if height != width:
        raise ValueError(f"{_DIGITS} are square: give one number as image_size, not {target}.")
    size = _DIGITS_SIZES[split.name] if size is None else size
    data = cluttered_digits(split.name, size, seed, height)
    return data.slice(*split.bounds(len(data), _DIGITS))


def _is_tfds(name, data_dir):
    if name == _DIGITS or _npz_paths(name):
        return False
    return _is_prepared(os.fspath(name), data_dir) or not pathlib.Path(name).expanduser().exists()


def _is_prepared(name, data_dir):
    """Whether `name` is a data set in `data_dir`, which a folder of that name must not hide."""
    bare = not any(mark in name for mark in "/.~\\")
    return bare and data_dir is not None and (pathlib.Path(data_dir).expanduser() / name).is_dir()


def _npz_paths(name):
    """The .npz files that `name` means, or an empty list if it means something else."""
    if isinstance(name, (list, tuple)):
        parts = [os.fspath(part) for part in name]
        if not parts:
            raise ValueError("name is an empty list; it needs at least one .npz file.")
    elif isinstance(name, (str, os.PathLike)):
        text = os.fspath(name)
        folder = pathlib.Path(text).expanduser()
        if folder.is_dir():
            files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
            return files if all(path.suffix == ".npz" for path in files) else []
        parts = [part.strip() for part in text.split(",")]
        if not any(part.endswith(".npz") for part in parts):
            return []
    else:
        raise TypeError(f"name must be a string, a path or a list of .npz files; got {name!r}.")
    paths = [pathlib.Path(part).expanduser() for part in parts]
    if wrong := [path for path in paths if path.suffix != ".npz"]:
        raise ValueError(f"A list of files must be of .npz files; got {wrong[0]}.")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
    return paths
