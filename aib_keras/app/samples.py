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
        own: Dict from names of data sets to paths of images in them, of which the first few are
            copied.

    Attributes:
        groups: Dicts from names to paths: images of the embedded data set, a photo, and images of
            each data set of `own`. The first is empty without scikit-learn, which the data set is
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
        self._own = {}
        for number, (dataset, paths) in enumerate(dict(own).items(), start=1):
            group = _copied(dataset, paths, folder, f"own-{number}")
            if group:
                self._own[dataset] = group
        self.groups = digits, photos, *self._own.values()

    @property
    def paths(self):
        """Dict from all names to paths."""
        return {name: path for group in self.groups for name, path in group.items()}

    def fitting(self, dataset):
        """Returns the group of samples for models of a data set."""
        digits, photos, *_ = self.groups
        if dataset in self._own:
            return self._own[dataset]
        return digits if dataset == _DIGITS and digits else photos

    def name_of(self, path):
        """Returns the name of the sample with the content of a file, or None."""
        names = (name for name, own in self.paths.items() if filecmp.cmp(own, path, shallow=False))
        return next(names, None)


def _copied(dataset, paths, folder, stem):
    """Copies the first few images, and returns a dict from names to paths of the copies."""
    paths = [path for path in paths if path.suffix.lower() in _SHOWN and path.is_file()]
    found = {}
    for number, path in enumerate(paths[:_NUM_OWN], start=1):
        copy = folder / f"{stem}-{number}{path.suffix.lower()}"
        shutil.copyfile(path, copy)
        found[f"{pathlib.Path(dataset).name}/{path.parent.name}/{path.stem}"] = copy
    return found
