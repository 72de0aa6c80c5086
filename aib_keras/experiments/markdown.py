"""Markdown tables, the numbers in them, and the files that recipes write them to."""

import pathlib
import statistics

from aib_keras.utils.files import atomic_path, write_json

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


def mean_percent(shares, digits=1):
    """Returns the mean of shares in percent, with the standard deviation if there are several."""
    if not shares:
        return MISSING
    text = percent(statistics.mean(shares), digits)
    return f"{text} ± {percent(statistics.stdev(shares), digits)}" if len(shares) > 1 else text


def scale(reductions):
    """Returns how a training was smaller than the paper's, from `cards.reductions`."""
    return "; ".join(reductions) or "full size"


def write(folder, name, text, content):
    """Writes `name.md` and `name.json` to a folder, and prints the text.

    Args:
        folder: Path, made if need be.
        name: Name of the files without their endings.
        text: Markdown.
        content: What goes into the JSON file.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{name}.md") as temporary:
        temporary.write_text(text)
    write_json(folder / f"{name}.json", content)
    print(f"{text}\nWritten to {folder}/{name}.md and {name}.json.")
