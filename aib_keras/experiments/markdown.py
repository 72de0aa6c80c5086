"""Markdown tables, and the numbers in them."""

MISSING = "–"


def table(columns, rows):
    """Returns the lines of a Markdown table.

    Args:
        columns: Titles.
        rows: One list of strings per row, as many as there are columns.
    """
    return [
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def number(value, digits, factor=1):
    """Returns `factor * value` with so many digits after the point, or a dash for None."""
    return MISSING if value is None else f"{factor * value:.{digits}f}"


def percent(share, digits=2):
    """Returns a share in [0, 1] in percent, without the sign, or a dash for None."""
    return number(share, digits, 100)


def scale(reductions):
    """Returns how a training was smaller than the paper's, from `cards.reductions`."""
    return "; ".join(reductions) or "full size"
