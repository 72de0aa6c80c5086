"""Images in files: in a folder for each class, or in a list."""

import hashlib
import itertools
import os
import pathlib
import warnings

import numpy as np

from aib_keras.data import pixels
from aib_keras.data.streamed import StreamedImageData
from aib_keras.utils.checks import check_label_range, check_path, check_size
from aib_serve.sources import visible_files

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
# In lower case, and in the order in which they are looked for.
_SPLIT_FOLDERS = {
    "train": ("train", "training", "training_set"),
    "test": ("test", "testing", "test_set", "val", "validation", "valid"),
}


def load_folder(root, split, image_size, stream=None):
    """Reads `root/train/<class>/*` and `root/test/<class>/*`, or `root/<class>/*`.

    The folder of "train" can also be "training" or "training_set", and that of "test" "testing",
    "test_set" or, if there is none of these, "val", "validation" or "valid", in any case. Without
    such folders a fifth of each class, rounded and at least one image, is "test" and the rest is
    "train". The files of "test" are those whose paths relative to `root` have the smallest SHA-256
    hashes. The classes are the names of the folders, sorted. The examples are in the order of the
    same hashes, which mixes the classes, so that slices and held-out parts have examples of each
    class. Hidden files and files that are not images are skipped. Class folders that all contain
    the same folders are an error, because they look like splits.

    Args:
        root: Path of the folder.
        split: A `Split` named "train" or "test".
        image_size: (height, width) to resize to, or None if all images have the same size.
        stream: Boolean, whether to read the images when they are needed; None: if they need more
            than 8 GiB.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: If a folder or a file is not as described. The message names it. Of files that
            cannot be read as images, it names up to ten.
    """
    root = pathlib.Path(root)
    classes, files = list_files(root, split)
    paths, labels = zip(*files, strict=True)
    try:
        return _load(paths, np.array(labels, np.int32), classes, image_size, stream, root)
    except pixels.UnreadableImageError:
        # Of both splits, so that nobody has to try again and again.
        pixels.check_files(_all_images(root))
        raise


def list_files(root, split):
    """Returns the names of the classes of a folder, and pairs (path, label) of a split.

    The arguments, the order and the errors are those of `load_folder`. No image is read.
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
    return classes, files[start:stop]


def folder_digest(root):
    """Returns a digest of the names and sizes of all images of a folder of class folders.

    It changes when an image is added, renamed or removed, or gets another size.

    Args:
        root: Path of the folder, which has class folders, or splits with class folders.

    Returns:
        A string of 64 hexadecimal digits.
    """
    root = pathlib.Path(root)
    digest = hashlib.sha256()
    # What else is there, such as the figures of a training, is not of the data.
    paths = (
        path
        for place in class_roots(root)
        for name in _subfolders(place)
        for path in _visible_files(place / name)
        # Not a dead link.
        if path.suffix.lower() in _IMAGES and path.is_file()
    )
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode(errors="replace"))
    return digest.hexdigest()


def _visible_files(folder):
    """Returns the paths of the files of a class folder and its subfolders, without hidden ones."""
    # A link to a folder above would bring in the images of other classes.
    return visible_files(folder, pathlib.Path(os.path.realpath(folder)).parents)


def load_files(paths, labels, class_names=None, *, image_size=None, stream=None, name="files"):
    """Loads labelled images from a list of files.

    Args:
        paths: Paths of the image files, in the order of the examples.
        labels: Integers `(N,)`, the class of each file.
        class_names: Names of the classes, all different. None: the numbers from 0 to the largest
            label.
        image_size: Integer or (height, width) to which the images are resized (bilinear,
            antialiased). Required if the images have different sizes.
        stream: Boolean, whether to read the images when they are needed instead of all at once.
            None: if they need more than 8 GiB in memory. Training is the same either way.
        name: Where the images come from, for messages and reports.

    Returns:
        An `ImageData`.

    Raises:
        ImportError: If the images have to be streamed and Grain is not installed.
        FileNotFoundError: If a file is not there.
        ValueError: If an argument or a file is not as described. The message names it.
    """
    size = None if image_size is None else check_size("image_size", image_size)
    paths = [check_path("paths", path) for path in paths]
    labels = np.asarray(labels)
    if labels.shape != (len(paths),) or labels.dtype.kind not in "iu" or not len(paths):
        raise ValueError(
            f"{name}: expected at least one file and one integer label for each, got {len(paths)} "
            f"files and labels of {labels.dtype} {labels.shape}."
        )
    check_label_range(name, "`labels`", labels)
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{name}: there is no file {path}.")
    if class_names is None:
        class_names = range(int(labels.max()) + 1)
    try:
        return _load(paths, labels.astype(np.int32), class_names, size, stream, name)
    except pixels.UnreadableImageError:
        pixels.check_files(paths)
        raise


def class_roots(root):
    """Returns the folders whose folders are the classes: those of the splits, or `root` itself."""
    root = pathlib.Path(root)
    found = [_split_folder(root, names) for names in _SPLIT_FOLDERS.values()]
    return [folder for folder in found if folder] or [root]


def _split_folder(root, names):
    # Of two spellings, that in lower case, which sorts last, counts.
    there = {folder.lower(): folder for folder in _subfolders(root)}
    for name in names:
        # A folder "train" with images but no folders in it is a class: of vehicles, perhaps.
        if name in there and _subfolders(root / there[name]):
            return root / there[name]
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
    if {name.lower() for name in classes} <= {*itertools.chain(*_SPLIT_FOLDERS.values())}:
        raise ValueError(
            f"The folders {', '.join(classes)} in {root} have no class folders in them: put the "
            "images into a folder for each class, such as train/cat/1.jpg."
        )
    _check_are_classes(root, classes)
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


def _check_are_classes(root, classes):
    """Raises a ValueError for folders that look like splits: all have the same folders in them."""
    inner, *others = ({*_subfolders(root / name)} for name in classes)
    if len(inner) > 1 and all(other == inner for other in others):
        raise ValueError(
            f"{root}: each of the folders {', '.join(classes)} has the same folders in it "
            f"({', '.join(sorted(inner)[:3])}, ...), as if they were splits. Call them train and "
            "test. If they are the classes, move the images of each directly into its folder."
        )


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
        for path in _visible_files(folder / name):
            extension = path.suffix.lower()
            if extension in _IMAGES:
                paths.append(path)
            elif extension not in _OTHERS:
                unknown.setdefault(extension, path)
        if not paths:
            skipped = ", ".join(f"*{extension}" for extension in sorted(unknown))
            others = f" Files of other kinds ({skipped}) are not read: convert them to JPEG."
            raise ValueError(
                f"The class folder {folder / name} has no images in it: add some or remove it."
                f"{others if unknown else ''}"
            )
        found.append(paths)
    if unknown:
        examples = ", ".join(str(path) for path in unknown.values())
        warnings.warn(
            f"Files whose names do not end like images were skipped, for instance {examples}.",
            stacklevel=2,
        )
    return found


def _all_images(root):
    """Returns the paths of the images of all splits."""
    return [
        path
        for place in class_roots(root)
        for of_class in _find_images(place, _subfolders(place))
        for path in sorted(of_class)
    ]


def _load(paths, labels, classes, size, stream, name):
    files = _Files(paths, size, name)
    streamed = pixels.whether_to_stream(stream, len(files), *files.shape[:2], name)
    examples = StreamedImageData(files, labels, classes, name=str(name))
    return examples if streamed else examples.in_memory()


class _Files:
    """Decoded image files."""

    def __init__(self, paths, size, name):
        # A fraction of the memory that as many objects take, here and in each worker process.
        self._paths = np.array([os.fsencode(path) for path in paths])
        self._size = size
        self._name = name
        self.shape = self._decode(0).shape

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, index):
        image = self._decode(index)
        if image.shape != self.shape:
            raise ValueError(
                f"{self._name}: the images have different sizes, for instance {self._path(0)} is "
                f"{self.shape[0]}x{self.shape[1]} and {self._path(index)} is "
                f"{image.shape[0]}x{image.shape[1]}. Give image_size=(height, width) to resize "
                "them all."
            )
        return image

    def _decode(self, index):
        return pixels.decode(self._path(index), self._size)

    def _path(self, index):
        return pathlib.Path(os.fsdecode(self._paths[index]))
