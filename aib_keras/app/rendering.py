"""How the page shows a `Prediction`: pictures, a scale of colours, sentences and a table."""

import html

import numpy as np
from matplotlib import colormaps, colors

from aib_keras.metrics import map_similarity
from aib_serve.overlay import overlay

# Small images are enlarged to about this side.
_SHOWN_SIDE = 256


def limits(attention, stretch):
    """Returns the values (low, high) of the darkest and the brightest colour.

    Args:
        attention: Array `(h, w)`, or None for a model without a map, for which it returns None.
        stretch: Boolean. True returns the map's own minimum and maximum. False returns 0 and 1,
            except for maps that are not in [0, 1].
    """
    if attention is None:
        return None
    low, high = float(attention.min()), float(attention.max())
    if not stretch and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1


def painted(image, attention, limits, opacity, nearest=False):
    """Overlays a map on its image, both enlarged. Values beyond the limits get the end colours.

    Raises:
        ValueError: if the opacity is not in [0, 1].
    """
    if attention is None:
        return None
    attention = np.clip(attention, *limits)
    return overlay(enlarged(image), attention, opacity, nearest=nearest, limits=limits)


def enlarged(image):
    """Enlarges a small image so that each pixel is a visible square."""
    factor = max(1, _SHOWN_SIDE // max(image.shape[:2]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def scale(limits):
    """Returns a colour bar of the maps in HTML, with the values at its ends."""
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
    """Returns sentences on what the model says about the image, and on what it cannot say."""
    if found.bits is None:
        lines = ["This model has no information bottleneck: it cannot count the bits that it uses."]
    else:
        lines = [
            f"**{found.bits:.1f} bits** of information: the KL divergence of p(z|x) from the "
            "prior. Its mean over images is an upper bound on what the latent z says about one."
        ]
    if found.attention is None:
        lines.append("This model has no spatial map, so there is nothing to overlay.")
    elif found.attention_quantized is None:
        lines.append("This model does not quantise its map.")
    else:
        lines.append(
            f"**{found.anchors_in_use} of {trained.num_anchors} anchors** are in use in the "
            "quantised map."
        )
    if trained.crop_to_box:
        lines.append("It was trained on images cropped to their object. Crop yours, too.")
    return "\n\n".join(lines)


def comparison(before, after):
    """Returns a table of what a perturbation changes."""
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
        return f"{text}\n\nWithout a map there is no similarity of maps."
    cosine = map_similarity(before.attention[None], after.attention[None])[0]
    return (
        f"{text}\n\n**Cosine of the two maps: {cosine:.3f}**. It can be near 1 for "
        "maps of different images, too."
    )


def _escaped(class_name):
    """Returns the name of a class for a cell of a Markdown table."""
    return html.escape(class_name).replace("|", "&#124;")
