"""The sample images of the page. A link can name one, unlike an upload."""

import filecmp
import importlib.util
import pathlib
import shutil

from PIL import Image

from aib_keras import data

# Chelsea, a photo by Stéfan van der Walt in the public domain (CC0), from scikit-image.
_PHOTO = pathlib.Path(__file__).parent / "images" / "cat.jpg"
_DIGITS = "cluttered_digits"
_NUM_DIGITS = 6
_NUM_OWN = 6
# Images that browsers show.
_SHOWN = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}


class Samples:
    """Image files to begin with.

    Args:
        folder: Path of an existing folder, to which the files are written.
        own: Dict from tuples of paths of images, of which the first few are copied, to the name of
            their data set. Runs on one data set can be evaluated on different images of it.

    Attributes:
        groups: Dicts from names to paths: images of the embedded data set, a photo, and images of
            each tuple of `own`. The first is empty without scikit-learn, which the data set is
            made from.
    """

    def __init__(self, folder, own=()):
        folder, digits = pathlib.Path(folder), {}
        if importlib.util.find_spec("sklearn") is not None:
            images = data.load(_DIGITS, f"test[:{_NUM_DIGITS}]").images
            for index, image in enumerate(images, start=1):
                path = folder / f"digit-{index}.png"
                Image.fromarray(image).save(path)
                digits[path.stem] = path
        photos = {_PHOTO.stem: pathlib.Path(shutil.copy(_PHOTO, folder))}
        self._own, copies = {}, {}
        for paths, dataset in dict(own).items():
            if group := _copied(dataset, paths, folder, copies):
                self._own[paths] = group
        self.groups = digits, photos, *self._own.values()

    @property
    def paths(self):
        """Dict from all names to paths."""
        return {name: path for group in self.groups for name, path in group.items()}

    def fitting(self, dataset, own=()):
        """Returns the group of samples for a model.

        Args:
            dataset: Name of its data set.
            own: Tuple of paths of images that it was evaluated on.
        """
        digits, photos, *_ = self.groups
        if own in self._own:
            return self._own[own]
        return digits if dataset == _DIGITS and digits else photos

    def name_of(self, path, group=()):
        """Returns the name of the sample with the content of a file, or None.

        Args:
            path: Path of the file.
            group: Dict, one of `groups`, that is looked through first.
        """
        paths = {**dict(group), **self.paths}
        return next((n for n, own in paths.items() if filecmp.cmp(own, path, shallow=False)), None)


def _copied(dataset, paths, folder, copies):
    """Copies the first few images, and returns a dict from names to paths of the copies.

    `copies` has the name and the copy of each image that was copied before, and gets these.
    """
    found = {}
    for path in paths:
        if len(found) == _NUM_OWN:
            break
        if path.suffix.lower() not in _SHOWN:
            continue
        if path not in copies:
            copy = folder / f"own-{len(copies) + 1}{path.suffix.lower()}"
            try:
                shutil.copyfile(path, copy)
            except OSError:
                # It is gone, or may not be read.
                continue
            name = f"{pathlib.Path(dataset).name}/{path.parent.name}/{path.stem}"
            # A name that is not UTF-8 could not be part of a link.
            name = name.encode(errors="replace").decode()
            # Another folder, or another ending, can have an image of this name.
            if name in (taken for taken, _ in copies.values()):
                name = f"{name} ({len(copies) + 1})"
            copies[path] = name, copy
        name, copy = copies[path]
        found[name] = copy
    return found
