"""How the page shows a `Prediction`: pictures, a scale of colours, sentences and a table."""

import html

import numpy as np
from matplotlib import colormaps, colors
from PIL import Image

from aib_keras.app.predictions import GRAD_CAM, MAP, QUANTIZED
from aib_keras.metrics import map_similarity
from aib_serve.overlay import overlay, part_of

# In pixels: larger pictures are reduced to the first, much smaller ones enlarged to about the
# second.
_LARGEST_SIDE, _SHOWN_SIDE = 720, 512
# Of the brightness of what the model does not see.
_OUTSIDE = 0.35


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


def shown(image, largest=_LARGEST_SIDE):
    """Returns an image at the size of the page's pictures, at its own aspect ratio.

    A small image is enlarged so that each pixel is a visible square.

    Args:
        image: uint8 array `(H, W, 3)`.
        largest: Integer, the longest side of a picture in pixels.
    """
    longest = max(image.shape[:2])
    if longest > largest:
        height, width = (max(1, round(side * largest / longest)) for side in image.shape[:2])
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    factor = max(1, min(_SHOWN_SIDE, largest) // longest)
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def painted(picture, attention, box, limits, opacity, nearest=False):
    """Overlays a map on the part of a picture that the model saw, and dims the rest.

    Args:
        picture: uint8 array `(H, W, 3)`.
        attention: Array `(h, w)`, or None for a model without a map.
        box: y0, x0, y1, x1 of the part, as shares of the sides of the picture.
        limits: Values (low, high) of the end colours, which values beyond them get, too.
        opacity: Number in [0, 1].
        nearest: Boolean, whether to show the cells of the map as blocks. Otherwise the colours
            between their centres are interpolated.

    Raises:
        ValueError: if the opacity is not in [0, 1].
    """
    found = np.rint(_OUTSIDE * picture).astype(np.uint8)
    part = part_of(picture, box)
    found[part] = picture[part]
    if attention is not None:
        attention = np.clip(attention, *limits)
        found[part] = overlay(picture[part], attention, opacity, nearest=nearest, limits=limits)
    return found


def proportioned(seen, picture, box):
    """Enlarges what a model sees to the size and the proportions of its part of a picture."""
    height, width = picture[part_of(picture, box)].shape[:2]
    return np.asarray(Image.fromarray(seen).resize((width, height), Image.Resampling.NEAREST))


def scales(bars):
    """Returns colour bars in HTML, with the values at their ends.

    Args:
        bars: Dict from what a bar is for to (low, high), or None where there is no map.
    """
    return "".join(_scale(title, ends) for title, ends in bars.items() if ends is not None)


def _scale(title, ends):
    hexes = ", ".join(colors.to_hex(colormaps["viridis"](share)) for share in np.linspace(0, 1, 9))
    low, high = (f"{value:.3g}" for value in ends)
    title = html.escape(title)
    return (
        f'<div class="scale-bar" style="background: linear-gradient(to right, {hexes})" role="img"'
        f' aria-label="Colours of {title} from {low}, dark, to {high}, bright"></div>'
        f'<div class="scale-ends"><span>{low}</span><span>{title}</span><span>{high}</span></div>'
    )


def facts(trained, found, kind):
    """Returns sentences on what the model says about the image, and on what it cannot say.

    Args:
        trained: `Trained`.
        found: Its `Prediction`.
        kind: Name of the map that is shown.
    """
    if found.bits is None:
        lines = ["This model has no information bottleneck: it cannot count the bits that it uses."]
    else:
        lines = [
            f"**{found.bits:.1f} bits** of information: the KL divergence of p(z|x) from the "
            "prior. Its mean over images is an upper bound on what the latent z says about one."
        ]
    if MAP not in found.maps:
        lines.append("This model has no spatial map of its own.")
    elif QUANTIZED not in found.maps:
        lines.append("This model does not quantise its map.")
    else:
        lines.append(
            f"**{found.anchors_in_use} of {trained.num_anchors} anchors** are in use in the "
            "quantised map."
        )
    lines.append(_drawn(found, kind))
    if found.cell_bits is not None and kind != GRAD_CAM:
        low, high = found.cell_bits.min(), found.cell_bits.max()
        lines.append(
            f"**{low:.1f} to {high:,.0f} bits** pass through a cell of the map. Noise replaces the "
            "rest of the features."
        )
    if trained.is_residual and kind != GRAD_CAM:
        lines.append(
            "With the residual modulation all features pass, so the map need not show what the "
            "model uses."
        )
    if trained.transform.box != (0.0, 0.0, 1.0, 1.0):
        lines.append("What is dim, the model does not see: it takes the middle of the image.")
    if trained.crop_to_box:
        lines.append("It was trained on images cropped to their object. Crop yours, too.")
    return "\n\n".join(lines)


def _drawn(found, kind):
    height, width = found.maps[kind].shape
    if kind == QUANTIZED:
        return f"The {height}x{width} cells of the map are drawn as blocks."
    what = "map"
    if kind == GRAD_CAM:
        what = f"map, Grad-CAM of the class {_escaped(found.class_name)},"
    return (
        f"The {what} has {height}x{width} cells. The colours between their centres are "
        "interpolated."
    )


def comparison(columns):
    """Returns a table of two predictions, and how alike their maps are.

    Args:
        columns: Two triples: heading, `Prediction`, name of the map that is shown.
    """
    headings, found, kinds = zip(*columns, strict=True)
    rows = {
        "": map(_escaped, headings),
        "class": (_escaped(one.class_name) for one in found),
        "its probability": (f"{one.probabilities.max():.1%}" for one in found),
    }
    if any(one.bits is not None for one in found):
        rows["bits"] = ("none" if one.bits is None else f"{one.bits:.1f}" for one in found)
    lines = [f"| {' | '.join((name, *cells))} |" for name, cells in rows.items()]
    text = "\n".join([lines[0], "|---|---|---|", *lines[1:]])
    first, second = (one.maps[kind] for one, kind in zip(found, kinds, strict=True))
    if first.shape != second.shape:
        return f"{text}\n\nThe maps have different numbers of cells, so they have no cosine."
    cosine = map_similarity(first[None], second[None])[0]
    return (
        f"{text}\n\n**Cosine of the two maps: {cosine:.3f}**. It can be near 1 for "
        "maps of different images, too."
    )


def sheet_text(shown, bad, more):
    """Returns sentences on a contact sheet.

    Args:
        shown: Integer, the number of images on it.
        bad: HTML sentences, one for each file that is no image.
        more: Boolean, whether there are more files than a sheet has.
    """
    text = f"**Images on the sheet: {shown}.**"
    if more:
        text += (
            f" It is of the first {shown + len(bad)} files, in the order of their names. Give "
            "fewer at a time to see the others."
        )
    listing = "".join(f"\n- {sentence}" for sentence in bad)
    return f"{text}\n\nNot shown:\n{listing}" if bad else text


def _escaped(text):
    """Returns a text for a cell of a Markdown table."""
    return html.escape(text).replace("|", "&#124;")
