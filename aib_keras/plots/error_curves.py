"""Figure of how the errors of several models grow."""

import statistics

from aib_keras.plots.style import LINES, new_figure

_COLUMNS = 4
_MOST_TICKS = 10


def error_curves_figure(panels):
    """Draws errors of several models against one quantity per panel.

    A point is the mean over runs, and the bar at it one standard deviation to each side.

    Args:
        panels: List of dicts with the keys:

            - `xlabel`: String.
            - `lines`: Dict from the name of a model to a dict from what is on the x-axis, a string,
              to a list of errors in [0, 1], one per training. A model has the same colour in all
              panels.
            - `places`: Optional list of all strings on the x-axis, in their order. By default they
              are in the order in which the lines have them.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `panels` is empty.
    """
    if not panels:
        raise ValueError("There is nothing to draw: `panels` is empty.")
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(3.2 * columns, 2.8 * rows + 0.4)
    names = list(dict.fromkeys(name for panel in panels for name in panel["lines"]))
    styles = {name: LINES[index % len(LINES)] for index, name in enumerate(names)}
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    handles = {}
    for axis, panel in zip(axes, panels, strict=False):
        found = dict.fromkeys(x for line in panel["lines"].values() for x in line)
        places = panel.get("places", list(found))
        for name, line in panel["lines"].items():
            color, marker, dashes = styles[name]
            handles[name] = axis.errorbar(
                [places.index(x) for x in line],
                [100 * statistics.mean(errors) for errors in line.values()],
                [100 * statistics.stdev(e) if len(e) > 1 else 0 for e in line.values()],
                color=color,
                marker=marker,
                linestyle=dashes,
                linewidth=1,
                markersize=4,
                label=name,
            )
        # Evenly spaced, because the values may span decades.
        step = -(-len(places) // _MOST_TICKS)
        axis.set_xticks(range(0, len(places), step), places[::step])
        axis.set(xlabel=panel["xlabel"], ylim=(0, None))
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.remove()
    for axis in axes[: len(panels) : columns]:
        axis.set_ylabel("error [%]")
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure
