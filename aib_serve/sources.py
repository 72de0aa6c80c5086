"""The image files of a folder, a list or a store, and their contents."""

import os
import pathlib
import urllib.parse

# Those that the SavedModel cannot read get a row that says so.
_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)


def find_files(source):
    """Returns the image files of a source, sorted.

    Args:
        source: Path of a folder, which is searched with its subfolders; path of an image file, or
            of a text file with one path per line; or a sequence of paths. A folder, an image file
            and each path of a list can also be a URI that pyarrow opens, such as
            `s3://bucket/photos`.

    Raises:
        ValueError: if there is nothing there, or no image file.
    """
    if not isinstance(source, (str, os.PathLike)):
        files = [_expanded(str(file)) for file in source]
    elif is_uri(source):
        files = _stored_files(source)
    else:
        path = pathlib.Path(source).expanduser()
        if path.is_dir():
            files = [str(file) for file in visible_files(path) if _is_image(file)]
        elif path.is_file():
            files = [str(path)] if _is_image(path) else _listed(path)
        else:
            raise ValueError(f"There is no folder, no image and no list of files {str(path)!r}.")
    if not files:
        raise ValueError(f"There are no image files in {source!r}: expected {_SUFFIXES}.")
    return sorted(files)


def visible_files(folder, but=()):
    """Yields the paths of the files of a folder, and of the folders in it or linked to in it.

    Hidden files and folders are left out, and so is a link to a folder that was seen.

    Args:
        folder: Path.
        but: Resolved paths of folders to which links are not followed.
    """
    seen = {str(path) for path in but}
    for place, folders, files in os.walk(folder, followlinks=True):
        # Of a link to a folder above.
        seen.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) not in seen
        ]
        yield from (pathlib.Path(place, name) for name in files if not name.startswith("."))


def _listed(source):
    """Returns the paths in a text file."""
    try:
        # Some editors for Windows put a mark before the first line.
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(
            f"{str(source)!r} is no text file with one path per line, and its name does not end "
            f"like that of an image: {', '.join(_SUFFIXES)}."
        ) from None
    return [_expanded(line.strip()) for line in lines if line.strip()]


def _expanded(file):
    """Returns a path or URI, with the home folder in place of `~`."""
    return file if is_uri(file) else os.path.expanduser(file)


def _is_image(path):
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _stored_files(uri):
    """Returns the URIs of the image files below one, or one that is an image file."""
    from pyarrow import fs

    filesystem, folder = _filesystem(uri)
    kind = filesystem.get_file_info(folder).type
    if kind == fs.FileType.File and _is_image(pathlib.PurePosixPath(folder)):
        return [uri]
    if kind != fs.FileType.Directory:
        raise ValueError(f"There is no folder {uri!r}.")
    found = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    # What follows `?` are settings of the store, such as its region.
    start, mark, settings = uri.partition("?")
    return [
        f"{start.rstrip('/')}{_quoted(each.path, folder)}{mark}{settings}"
        for each in found
        if each.is_file and _is_image(pathlib.PurePosixPath(each.path))
    ]


def _quoted(path, folder):
    """Returns what a path has beyond that of a folder, as it stands in a URI."""
    return urllib.parse.quote(path.removeprefix(folder.rstrip("/")))


def read(file, folder=""):
    """Returns the content of a file, or the error that reading it raised.

    Args:
        file: Path or URI.
        folder: Path of the folder from which relative paths start.
    """
    try:
        if not is_uri(file):
            return pathlib.Path(folder, file).read_bytes()
        filesystem, path = _filesystem(file)
        with filesystem.open_input_stream(path) as stream:
            return stream.read()
    except (OSError, ValueError) as error:
        # A ValueError for a URI that pyarrow cannot read.
        return error


def is_uri(source):
    """Returns whether a source is a URI, such as `s3://bucket/photos`."""
    return isinstance(source, str) and "://" in source


def _filesystem(uri):
    """Returns the file system of a URI such as `s3://bucket/folder`, and the path on it."""
    import pyarrow
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"pyarrow cannot open {uri!r}: {error} It knows s3://, gs://, abfs://, hdfs:// and "
            "file://."
        ) from None
