"""Images in folders, one folder for each class."""

import concurrent.futures
import hashlib
import os
import pathlib
import warnings

import numpy as np

from aib_keras.data import pixels
from aib_keras.data.image_data import ImageData

# fmt: off
_IMAGES = frozenset((
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm",
    ".tga", ".tif", ".tiff", ".webp",
))
_OTHERS = frozenset((
    ".csv", ".db", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".pdf", ".tsv", ".txt",
    ".url", ".xml", ".yaml", ".yml",
))
# fmt: on
_SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "validation", "valid")}


def load_folder(root, split, image_size):
    """Reads `root/train/<class>/*` and `root/test/<class>/*`, or `root/<class>/*`.

    A folder "val", "validation" or "valid" is read as "test" if there is no "test". Without such
    folders a fifth of each class, rounded and at least one image, is "test" and the rest is
    "train". The files of "test" are those whose paths relative to `root` have the smallest SHA-256
    hashes. The classes are the names of the folders, sorted. The examples are in the order of the
    same hashes, which mixes the classes, so that slices and held-out parts have examples of each
    class. Hidden files and files that are not images are skipped.

    Args:
        root: Path of the folder.
        split: A `Split` named "train" or "test".
        image_size: (height, width) to resize to, or None if all images have the same size.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: If a folder or a file is not as described. The message names it.
    """
    root = pathlib.Path(root)
    split.require(("train", "test"), root)
    folders = {name: _split_folder(root, names) for name, names in _SPLIT_FOLDERS.items()}
    if any(folders.values()):
        classes, files = _presplit(root, folders, split.name)
    else:
        classes, files = _by_hash(root, split.name)
    files.sort(key=lambda item: _hash(root, item[0]))
    start, stop = split.bounds(len(files), root)
    paths, labels = zip(*files[start:stop], strict=True)
    images = _decode_all(paths, image_size, root)
    return ImageData(images, np.array(labels, np.int32), classes, name=str(root))


def _split_folder(root, names):
    for name in names:
        # A folder "train" with images but no folders in it is a class: of vehicles, perhaps.
        if (root / name).is_dir() and _subfolders(root / name):
            return root / name
    return None


def _subfolders(folder):
    """Returns the sorted names of the folders in a folder, without hidden ones."""
    names = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{folder} has a folder whose name is not valid UTF-8, {os.fsencode(name)!r}: "
                "rename it, because the names of folders become the names of classes."
            ) from None
    return sorted(names)


def _presplit(root, folders, split):
    if folders[split] is None:
        wanted = " or ".join(f"{name}/" for name in _SPLIT_FOLDERS[split])
        raise ValueError(f"{root} has no folder {wanted} with class folders in it.")
    classes = {name: _classes(folder) for name, folder in folders.items() if folder}
    if len(classes) == 2 and classes["train"] != classes["test"]:
        differences = [
            f"only in {folders[name]}: {', '.join(only)}"
            for name, other in (("train", "test"), ("test", "train"))
            if (only := [c for c in classes[name] if c not in classes[other]])
        ]
        raise ValueError(f"{root}: the splits have different classes; {'; '.join(differences)}.")
    found = _find_images(folders[split], classes[split])
    files = [(path, label) for label, paths in enumerate(found) for path in paths]
    return classes[split], files


def _by_hash(root, split):
    classes = _classes(root)
    if set(classes) <= {name for names in _SPLIT_FOLDERS.values() for name in names}:
        raise ValueError(
            f"The folders {', '.join(classes)} in {root} have no class folders in them: put the "
            "images into a folder for each class, such as train/cat/1.jpg."
        )
    files = []
    for label, paths in enumerate(_find_images(root, classes)):
        if len(paths) < 2:
            raise ValueError(
                f"{root / classes[label]} has one image. Without train/ and test/ folders each "
                "class needs at least two, one for each split."
            )
        paths = sorted(paths, key=lambda path: _hash(root, path))
        num_test = max(1, round(len(paths) / 5))
        chosen = paths[:num_test] if split == "test" else paths[num_test:]
        files.extend((path, label) for path in chosen)
    return classes, files


def _hash(root, path):
    # The error handler passes names that are not valid UTF-8 through as they are.
    name = path.relative_to(root).as_posix().encode(errors="surrogateescape")
    return hashlib.sha256(name).digest()


def _classes(folder):
    classes = _subfolders(folder)
    if len(classes) < 2:
        found = f"one folder, {classes[0]!r}" if classes else "none"
        raise ValueError(
            f"{folder} must have a folder of images for each class, and at least two classes; it "
            f"has {found}."
        )
    return classes


def _find_images(folder, classes):
    """Lists the image files of each class, including those in its subfolders."""
    found, unknown = [], {}
    for name in classes:
        paths = []
        for place, subfolders, files in os.walk(folder / name):
            subfolders[:] = [sub for sub in subfolders if not sub.startswith(".")]
            for file in files:
                path = pathlib.Path(place, file)
                extension = path.suffix.lower()
                if file.startswith("."):
                    continue
                if extension in _IMAGES:
                    paths.append(path)
                elif extension not in _OTHERS:
                    unknown.setdefault(extension, path)
        if not paths:
            raise ValueError(
                f"The class folder {folder / name} has no images in it: add some or remove it."
            )
        found.append(paths)
    if unknown:
        examples = ", ".join(str(path) for path in unknown.values())
        warnings.warn(
            f"Files whose names do not end like images were skipped, for instance {examples}.",
            stacklevel=2,
        )
    return found


def _decode_all(paths, size, root):
    first = pixels.decode(paths[0], size)
    pixels.check_memory(len(paths), *first.shape[:2], root)
    images = np.empty((len(paths), *first.shape), np.uint8)

    def decode(index):
        image = pixels.decode(paths[index], size)
        if image.shape != first.shape:
            raise ValueError(
                f"{root}: the images have different sizes, for instance {paths[0]} is "
                f"{first.shape[0]}x{first.shape[1]} and {paths[index]} is "
                f"{image.shape[0]}x{image.shape[1]}. Give image_size=(height, width) to resize "
                "them all."
            )
        images[index] = image

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(decode, index) for index in range(len(paths))]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return images
