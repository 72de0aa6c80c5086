"""Figure of the information in the latent."""

import numpy as np

from aib_keras.plots.style import SERIES, class_labels, new_figure

# With more classes, their names would overlap.
_MOST_NAMES = 60


def information_figure(edges, count, mean, class_names, title):
    """Draws histograms of the bits in the latent, for images predicted right and wrong.

    The upper panel shows the share of all right and of all wrong images in each bin. The lower
    panels show, for each class, the share of its images in each bin, on one colour scale.

    Args:
        edges: As in an `aib_keras.metrics.Information`.
        count: As in an `aib_keras.metrics.Information`.
        mean: As in an `aib_keras.metrics.Information`.
        class_names: Sequence of C strings.
        title: String.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    edges, count = np.asarray(edges), np.asarray(count)
    classes = len(count)
    height = min(0.2 * classes + 1, 12)
    figure = new_figure(9, 2.8 + height)
    above, below = figure.subfigures(2, 1, height_ratios=(2.8, height))
    above.suptitle(title, fontsize=10)
    axis = above.subplots()
    groups = ("predicted right", "predicted wrong")
    for index, (group, (color, _, line)) in enumerate(zip(groups, SERIES, strict=True)):
        number = count[:, index].sum()
        if number:
            share = 100 * count[:, index].sum(axis=0) / number
            label = f"{group}: {number:,} images, mean {mean[index]:.2f} bits"
            axis.stairs(share, edges, color=color, linestyle=line, linewidth=1.5, label=label)
            axis.axvline(mean[index], color=color, linestyle=":", linewidth=1)
    axis.set(xlabel="information in z [bits]", ylabel="share of these images [%]")
    axis.legend(fontsize=8)
    of_class = 100 * count / np.maximum(count.sum(axis=(1, 2), keepdims=True), 1)
    panels = below.subplots(1, 2, sharey=True)
    for index, (axis, group) in enumerate(zip(panels, groups, strict=True)):
        drawn = axis.pcolormesh(
            edges, np.arange(classes + 1) - 0.5, of_class[:, index], vmin=0, vmax=of_class.max()
        )
        axis.set_title(group, fontsize=9)
        axis.set(xlabel="information in z [bits]", ylim=(classes - 0.5, -0.5))
    if classes <= _MOST_NAMES:
        panels[0].set_yticks(range(classes), class_labels(class_names), fontsize=7)
    else:
        panels[0].set_ylabel("class", fontsize=8)
    below.colorbar(drawn, ax=list(panels), label="share of the class's images [%]")
    return figure
