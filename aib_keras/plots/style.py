"""What all figures share: how they are created, and the colours of their lines."""

from aib_keras.utils.optional import require

# From the colours of Okabe and Ito, which colour-blind readers can tell apart. The second series
# differs from the first in marker and line style as well.
SERIES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"))
# The same for many series.
LINES = (
    *SERIES,
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#000000", "X", "-."),
)


def plain(text):
    """Returns a text in which Matplotlib takes no pair of dollar signs for mathematics."""
    return text.replace("$", r"\$")


def new_figure(width, height):
    """Returns an empty matplotlib figure, without pyplot and its global state.

    Args:
        width, height: Numbers, in inches.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "Plotting", "train")
    return figure.Figure(figsize=(width, height), layout="constrained")
