"""How the page shows a `Prediction`: pictures, a scale of colours, sentences and a table."""

import html

import numpy as np
from matplotlib import colormaps, colors

from aib_keras.metrics import map_similarity
from aib_serve.overlay import overlay

# Small images are enlarged to about this side.
_SHOWN_SIDE = 256


def limits(attention, stretch):
    """The values (low, high) of the darkest and the brightest colour.

    Args:
        attention: Array `(h, w)`, or None for a model without a map, which has no limits: None.
        stretch: Boolean. True gives the map's own minimum and maximum, as do maps that are not in
            [0, 1]; else they are 0 and 1.
    """
    if attention is None:
        return None
    low, high = float(attention.min()), float(attention.max())
    if not stretch and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1


def painted(image, attention, limits, opacity, nearest=False):
    """A map over its image, both enlarged; values beyond the limits get the outermost colours.

    Raises:
        ValueError: if the opacity is not in [0, 1].
    """
    if attention is None:
        return None
    attention = np.clip(attention, *limits)
    return overlay(enlarged(image), attention, opacity, nearest=nearest, limits=limits)


def enlarged(image):
    """A small image large enough to be seen, each pixel a square."""
    factor = max(1, _SHOWN_SIDE // max(image.shape[:2]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def scale(limits):
    """The colours of the maps as a bar in HTML, and which values they stand for."""
    if limits is None:
        return ""
    hexes = ", ".join(colors.to_hex(colormaps["viridis"](share)) for share in np.linspace(0, 1, 9))
    low, high = (f"{value:.3g}" for value in limits)
    return (
        f'<div class="scale-bar" style="background: linear-gradient(to right, {hexes})" role="img"'
        f' aria-label="Colours from {low}, dark, to {high}, bright"></div>'
        f'<div class="scale-ends"><span>{low}</span>'
        f"<span>colours of the three maps on this page</span><span>{high}</span></div>"
    )


def facts(trained, found):
    """What the model tells of the image, in sentences; and what it cannot tell."""
    if found.bits is None:
        lines = ["This model has no information bottleneck: it cannot tell how many bits it uses."]
    else:
        lines = [
            f"**{found.bits:.1f} bits** of information: the KL of p(z|x) to the prior, which on "
            "the mean over images bounds from above what the latent z tells of an image."
        ]
    if found.attention is None:
        lines.append("This model has no spatial map: there is nothing to lay over the image.")
    elif found.attention_quantized is None:
        lines.append("This model does not quantise its map.")
    else:
        lines.append(
            f"**{found.anchors_in_use} of {trained.num_anchors} anchors** are in use in the "
            "quantised map."
        )
    if trained.crop_to_box:
        lines.append("It was trained on images cropped to their object: crop yours, too.")
    return "\n\n".join(lines)


def comparison(before, after):
    """What a perturbation does, as a table."""
    rows = [
        "| | image | modified |",
        "|---|---|---|",
        f"| class | {_escaped(before.class_name)} | {_escaped(after.class_name)} |",
        f"| its probability | {before.probabilities.max():.1%} | {after.probabilities.max():.1%} |",
    ]
    if before.bits is not None:
        rows.append(f"| bits | {before.bits:.1f} | {after.bits:.1f} |")
    text = "\n".join(rows)
    if before.attention is None:
        return f"{text}\n\nNo map, no similarity of maps."
    cosine = map_similarity(before.attention[None], after.attention[None])[0]
    return (
        f"{text}\n\n**Cosine of the two maps: {cosine:.3f}**. Maps of different images can be "
        "near 1, too."
    )


def _escaped(class_name):
    """A class's name for a cell of a Markdown table."""
    return html.escape(class_name).replace("|", "&#124;")
