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


class Samples:
    """Image files to begin with.

    Args:
        folder: Path of an existing folder, to which the files are written.

    Attributes:
        groups: Two dicts from names to paths: images of the embedded data set, and photos. The
            former is empty without scikit-learn, which the data set is made from.
    """

    def __init__(self, folder):
        folder, digits = pathlib.Path(folder), {}
        if importlib.util.find_spec("sklearn") is not None:
            images = data.load(_DIGITS, f"test[:{_NUM_DIGITS}]").images
            for index, image in enumerate(images, start=1):
                path = folder / f"digit-{index}.png"
                Image.fromarray(image).save(path)
                digits[path.stem] = path
        self.groups = digits, {_PHOTO.stem: pathlib.Path(shutil.copy(_PHOTO, folder))}

    @property
    def paths(self):
        """Dict from all names to paths."""
        digits, photos = self.groups
        return {**digits, **photos}

    def fitting(self, dataset):
        """Returns the group of samples for models of a data set."""
        digits, photos = self.groups
        return digits if dataset == _DIGITS and digits else photos

    def name_of(self, path):
        """Returns the name of the sample with the content of a file, or None."""
        names = (name for name, own in self.paths.items() if filecmp.cmp(own, path, shallow=False))
        return next(names, None)
