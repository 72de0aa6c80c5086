"""Where TensorFlow finds a SavedModel: one check for exports and for those who load them."""

import os

# TensorFlow takes the path of the variables for a pattern. Windows has backslashes in every path.
_OF_PATTERNS = "[" if os.sep == "\\" else "[\\"


def check_no_pattern(path):
    """Raises a ValueError for the path of a SavedModel that TensorFlow would not find there."""
    if found := [character for character in _OF_PATTERNS if character in str(path)]:
        raise ValueError(
            f"{str(path)!r} has {' and '.join(found)} in it. TensorFlow takes this for a pattern "
            "and does not find a SavedModel there. Choose a path without it."
        )
