"""Where an export is written. Nothing old is lost by accident, and nothing incomplete remains."""

import contextlib
import os
import pathlib
import tempfile

from aib_keras.utils.checks import check_boolean, check_path
from aib_serve.saved_model_path import check_no_pattern

_SAVED_MODEL_FILE = "saved_model.pb"
_OF_SAVED_MODEL = {_SAVED_MODEL_FILE, "fingerprint.pb", "variables", "assets", "assets.extra"}


def saved_model_destination(path, overwrite):
    """Returns the absolute path of a folder to which a SavedModel may be written.

    Args:
        path: Path.
        overwrite: Boolean, whether a SavedModel at `path` may be replaced.

    Raises:
        TypeError: if `path` is neither a string nor a path.
        ValueError: if `path` is a URL, or has characters that TensorFlow takes for a pattern, or
            `overwrite` is not a boolean.
        FileExistsError: if `path` is a file, a folder with something other than a SavedModel, or,
            without `overwrite`, a SavedModel.
    """
    overwrite, path = check_boolean("overwrite", overwrite), local_path("path", path)
    check_no_pattern(path)
    if path.is_dir() and any(path.iterdir()):
        others = sorted({file.name for file in path.iterdir()} - _OF_SAVED_MODEL)
        if others or not (path / _SAVED_MODEL_FILE).is_file():
            raise FileExistsError(
                f"{str(path)!r} is a folder with something other than a SavedModel in it "
                f"({', '.join(others[:3]) or 'parts of one'}), which would be lost. Choose a new "
                "or an empty folder."
            )
        _check_overwrite(path, overwrite)
    elif path.exists() and not path.is_dir():
        raise FileExistsError(f"{str(path)!r} is a file. A SavedModel is a folder: choose another.")
    return path


def file_destination(path, overwrite, example):
    """Returns the absolute path of a file that may be written.

    Args:
        path: Path.
        overwrite: Boolean, whether a file at `path` may be replaced.
        example: A name that such a file could have, for the error message.

    Raises:
        TypeError: if `path` is neither a string nor a path.
        ValueError: if `path` is a URL or `overwrite` is not a boolean.
        FileExistsError: if `path` is a folder or, without `overwrite`, a file that is not empty.
    """
    overwrite, path = check_boolean("overwrite", overwrite), local_path("path", path)
    if path.is_dir():
        raise FileExistsError(
            f"{str(path)!r} is a folder. The export is a file, so choose a path such as "
            f"{str(path / example)!r}."
        )
    if path.exists() and path.stat().st_size:
        _check_overwrite(path, overwrite)
    return path


@contextlib.contextmanager
def staged(path):
    """Yields a temporary path to write to, and moves it to `path` when the block succeeds.

    Until then, what is at `path` stays.
    """
    with scratch_beside(path) as scratch:
        new, old = scratch / "new", scratch / "old"
        yield new
        # A file is replaced in one step; a folder that is not empty cannot be.
        if path.is_dir():
            os.replace(path, old)
        try:
            os.replace(new, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise


@contextlib.contextmanager
def scratch_beside(path):
    """Yields a temporary folder beside `path`: a move from it to `path` is a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        yield pathlib.Path(scratch)


def size(path):
    """Returns the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def local_path(name, path):
    """Returns the argument `name` as an absolute path.

    Raises:
        TypeError: if it is neither a string nor a path.
        ValueError: if it is a URL.
    """
    return pathlib.Path(os.path.abspath(check_path(name, path)))


def _check_overwrite(path, overwrite):
    if not overwrite:
        raise FileExistsError(
            f"{str(path)!r} exists and is not empty. Pass overwrite=True to replace it."
        )
