"""The hint at the end of an error about an unknown name."""

import difflib


def did_you_mean(name, known, count=3):
    """Returns ` Did you mean 'a' or 'b'?` for the known names nearest to `name`, or `""`.

    Args:
        name: What the caller wrote, of any type.
        known: Iterable of strings.
        count: Integer, the largest number of names to suggest.
    """
    near = difflib.get_close_matches(str(name), list(known), n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
