"""Compiled functions that calls of one loop share."""

import contextlib
import contextvars

_shared = contextvars.ContextVar("shared", default=None)


@contextlib.contextmanager
def shared():
    """Lets the calls inside share what they compile, because compiling takes seconds."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def shared_functions():
    """Returns the dict of the innermost `shared` that is active, or None."""
    return _shared.get()
