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


def class_label(number, name):
    """Returns what to write for a class in a figure.

    That is its name, or, such as `#3`, its number, where Matplotlib's font (`font.family`) lacks
    characters of the name and would draw the same box for each.

    Args:
        number: Integer, the label of the class.
        name: String.
    """
    manager = require("matplotlib.font_manager", "Plotting", "train")
    font = manager.get_font(manager.findfont(manager.FontProperties()))
    if not all(map(font.get_char_index, map(ord, name))):
        return f"#{number}"
    # Matplotlib would take a pair of dollar signs for mathematics.
    return name.replace("$", r"\$")


def class_labels(class_names):
    """Returns what to write for each class in a figure, as `class_label` does for one."""
    return [class_label(number, name) for number, name in enumerate(class_names)]


def new_figure(width, height):
    """Returns an empty matplotlib figure, without pyplot and its global state.

    Args:
        width, height: Numbers, in inches.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "Plotting", "train")
    return figure.Figure(figsize=(width, height), layout="constrained")
