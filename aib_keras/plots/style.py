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


def class_labels(class_names):
    """Returns what to write for each class in a figure.

    That is its name, or, such as `#3`, its number, where Matplotlib's font (`font.family`) lacks
    characters of the name and would draw the same box for each.

    Args:
        class_names: Sequence of strings.
    """
    manager = require("matplotlib.font_manager", "Plotting", "train")
    font = manager.get_font(manager.findfont(manager.FontProperties()))
    characters = font.get_charmap().keys()
    return [
        # Matplotlib would take a pair of dollar signs for mathematics.
        name.replace("$", r"\$") if characters >= {*map(ord, name)} else f"#{number}"
        for number, name in enumerate(class_names)
    ]


def new_figure(width, height):
    """Returns an empty matplotlib figure, without pyplot and its global state.

    Args:
        width, height: Numbers, in inches.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "Plotting", "train")
    return figure.Figure(figsize=(width, height), layout="constrained")
