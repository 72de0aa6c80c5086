"""Files that are written completely or not at all, even if the process is killed."""

import contextlib
import json
import os
import pathlib
import re
import secrets

_PREFIX = re.compile(r"^\.partial-\d+-[0-9a-f]+-")


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path to write to, and moves it to `path` if the block succeeds.

    The temporary file is in the same folder and has the ending of `path`, because writers look at
    it. If the block fails, the temporary file is removed and what was at `path` stays.
    """
    path = pathlib.Path(path)
    # Of this process, because another one may write the same file at the same time.
    temporary = path.with_name(f".partial-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def without_prefix(name):
    """Returns the name that a file is to have, for a temporary one that a kill has left."""
    return _PREFIX.sub("", name)


def write_json(path, content):
    """Writes `content` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path):
    """Returns the content of a JSON file. If it is not valid, a ValueError names the file."""
    try:
        return json.loads(pathlib.Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


def read_json_lines(path):
    """Returns the objects in a file of JSON lines, or an empty list if there is no such file.

    A last line that a kill has cut off is left out.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def write_json_lines(path, lines):
    """Writes objects as JSON lines, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
