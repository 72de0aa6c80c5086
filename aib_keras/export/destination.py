"""Where an export goes: nothing is lost on the way, and nothing half-written stays behind."""

import contextlib
import os
import pathlib
import tempfile

_SAVED_MODEL_FILE = "saved_model.pb"


def saved_model_destination(path, overwrite):
    """The absolute path of a folder that may be written.

    Raises:
        ValueError: for a URL.
        FileExistsError: for a file, a non-empty folder without `overwrite`, or with it one that
            holds something else than a SavedModel.
    """
    path = _local(path)
    if path.is_dir() and any(path.iterdir()):
        if not (path / _SAVED_MODEL_FILE).is_file():
            raise FileExistsError(
                f"{str(path)!r} is a folder with something else than a SavedModel in it, which "
                "would be lost. Choose a new or an empty folder."
            )
        _check_overwrite(path, overwrite)
    elif path.exists() and not path.is_dir():
        raise FileExistsError(f"{str(path)!r} is a file. A SavedModel is a folder: choose another.")
    return path


def file_destination(path, overwrite, example):
    """The absolute path of a file that may be written.

    Args:
        path: Path.
        overwrite: Boolean, whether what is there may be replaced.
        example: A name that such a file could have, for the error that a folder gets.

    Raises:
        ValueError: for a URL.
        FileExistsError: for a folder, or for a non-empty file without `overwrite`.
    """
    path = _local(path)
    if path.is_dir():
        raise FileExistsError(
            f"{str(path)!r} is a folder, and what is to be written is a file, such as "
            f"{str(path / example)!r}."
        )
    if path.exists() and path.stat().st_size:
        _check_overwrite(path, overwrite)
    return path


@contextlib.contextmanager
def staged(path):
    """Yields where to write; that is moved to `path` when the block ends without an error.

    What was at `path` is replaced then and not before. The new path is on the same file system,
    so that the move is a rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        new, old = pathlib.Path(scratch, "new"), pathlib.Path(scratch, "old")
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


def size(path):
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _local(path):
    if "://" in str(path):
        raise ValueError(
            f"{str(path)!r} is not a local path. Export to a local one and copy what is there."
        )
    return pathlib.Path(os.path.abspath(path))


def _check_overwrite(path, overwrite):
    if not overwrite:
        raise FileExistsError(
            f"{str(path)!r} exists and is not empty. Pass overwrite=True to replace it."
        )
