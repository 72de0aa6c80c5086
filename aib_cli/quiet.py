"""TensorFlow's start-up log, which a user of a command-line program has no use for."""

import contextlib
import os
import re
import sys
import tempfile

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Lines that TensorFlow's libraries write while they are loaded, before they know the level.
_NOISE = re.compile(rb"WARNING: All log messages before absl::InitializeLog|I0000 ")


@contextlib.contextmanager
def startup():
    """Drops the informational lines that TensorFlow logs while it is imported.

    All else that is written to stderr meanwhile is shown at the end. Afterwards TensorFlow's C++
    code logs nothing: it calls a machine without a GPU an error, and raises what stops a program in
    Python. Nothing is dropped if the environment variable `TF_CPP_MIN_LOG_LEVEL` is set.
    """
    if _LEVEL in os.environ:
        yield
        return
    os.environ[_LEVEL] = "3"
    sys.stderr.flush()
    # These lines are written by C++, to the file descriptor.
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            log.seek(0)
            os.write(kept, b"".join(line for line in log if not _NOISE.match(line)))
            os.close(kept)
