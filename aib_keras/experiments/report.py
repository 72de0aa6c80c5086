"""`report.html`: what a person wants to see of a classifier of her own photos, in one file."""

import base64
import html
import io
import string

import numpy as np
from PIL import Image
from scipy import special

from aib_keras import metrics, plots
from aib_keras.data import batches_of
from aib_keras.experiments import report_scores
from aib_keras.experiments.full_batches import FullBatches
from aib_keras.experiments.selectivity import nats_by_cell, share_that_passes
from aib_keras.metrics.intervals import wilson_interval
from aib_keras.plots.overlay import shaded
from aib_keras.plots.style import class_labels, new_figure
from aib_keras.utils.files import atomic_path

# Images of each part of the report.
_SHOWN, _MISTAKES = 12, 12
_BATCH_SIZE = 128
# Sides in pixels below which an image is not compressed, and shown with visible pixels.
_SMALL = 100
# Of the confidence: from so many images on as usual, and with fewer images fewer.
_ENOUGH, _BINS, _FEW_BINS = 200, 15, 5

_PAGE = string.Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { overflow-wrap: anywhere; }
h2 { margin-top: 2em; }
img { max-width: 100%; }
figure { margin: 0; }
table { border-collapse: collapse; }
td, th { padding: .4em 1.2em .4em 0; border-bottom: 1px solid #ccc; text-align: left; }
td, th { vertical-align: top; }
figcaption, small { color: #555; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(17em, 1fr)); gap: 1.5em; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.pair img { width: 100%; }
.small img { image-rendering: pixelated; }
.cards figcaption { overflow-wrap: anywhere; font-size: .9em; line-height: 1.35; }
</style>
<h1>$title</h1>
$body
</html>
""")


def write_report(path, model, examples, title, verbose=1):
    """Writes a report of a classifier on evaluation images, one HTML file without links.

    It has the error with its 95 % interval, the calibration, a confusion matrix, maps over the
    images, the mistakes that the model is most confident of, and insertion and deletion scores of
    the maps beside those of Grad-CAM of the same model and of maps that look at no image.

    Args:
        path: Path of the file.
        model: `ImageClassifier`.
        examples: `ImageData` that the model was not trained on.
        title: String.
        verbose: 0 or 1. With 1, prints a line per step, and on a terminal progress bars.

    Returns:
        A dict of the numbers in the report.
    """
    if verbose:
        print(f"Report: explaining {len(examples):,} images.", flush=True)
    batches = FullBatches(batches_of(examples, min(_BATCH_SIZE, len(examples)), shuffle=False))
    found = {name: each[: len(examples)] for name, each in model.explain(batches).items()}
    probabilities = special.softmax(found["logits"].astype("float64"), axis=1)
    predicted, labels = probabilities.argmax(axis=1), examples.labels
    wrong = predicted != labels
    calibration = metrics.reliability(
        probabilities, labels, _BINS if len(labels) >= _ENOUGH else _FEW_BINS
    )
    numbers = {
        "images": len(labels),
        "error": float(wrong.mean()),
        "error_interval": list(wilson_interval(wrong.sum(), len(wrong), "The report")),
        "nll": float(metrics.negative_log_likelihood(probabilities, labels)),
        "expected_calibration_error": calibration.expected_calibration_error,
    }
    maps = found[model.map_names[0]] if model.map_names else None
    numbers["passes"] = share_that_passes(model, found)
    body = [_facts(numbers, found)]
    if maps is not None:
        body.append(_overlays(examples, maps, predicted, probabilities))
    body.append(_mistakes(examples, maps, predicted, probabilities))
    body.append(_confusion(examples, predicted))
    body.append(_calibration(calibration))
    if maps is not None:
        scored = _in_turn(examples.labels)[: report_scores.MOST_IMAGES]
        chosen = (each[scored] for each in (examples.images, maps, predicted))
        areas = report_scores.measure(model, *chosen, verbose)
        numbers["scores"] = report_scores.means(areas)
        if len(labels) > 1:
            numbers["differences"] = report_scores.differences(areas)
        body.append(report_scores.section(areas))
    page = _PAGE.substitute(title=html.escape(title), body="\n".join(body))
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return numbers


def _facts(numbers, found):
    low, high = (100 * share for share in numbers["error_interval"])
    classes = found["logits"].shape[1]
    guess = np.log(classes)
    rows = [
        ("images", f"{numbers['images']:,}", "The model was not trained on them."),
        (
            "error",
            f"{100 * numbers['error']:.1f} %",
            f"The share of wrong predictions. With so many images, chance alone moves it between "
            f"{low:.1f} and {high:.1f} % (95 % interval).",
        ),
        (
            "negative log-likelihood",
            f"{numbers['nll']:.3f} nats",
            "How much the true classes surprise the model: the mean of −ln(probability of the true "
            f"class). 0 is best; guessing scores {guess:.3f}. A nat is 1.44 bits.",
        ),
        (
            "expected calibration error",
            f"{100 * numbers['expected_calibration_error']:.1f} %",
            "How far the probabilities are from the share of right predictions, on average. 0 is "
            "best. It comes out too high for few images.",
        ),
    ]
    if numbers["passes"] is not None:
        rows.append(
            (
                "passed by the map",
                f"{100 * numbers['passes']:.0f} %",
                "The mean of the attention map: 100 % would hide nothing from the classifier.",
            )
        )
    if (nats := nats_by_cell(found)) is not None:
        lowest, highest, total = map(metrics.nats_to_bits, nats)
        rows.append(
            (
                "information that the map passes",
                f"{lowest:.1f} to {highest:,.0f} bits per cell",
                "In the darkest and in the brightest cell of a photo's map, on average; "
                f"{total:,.0f} bits in all cells, if noise replaces the rest of the features, as "
                "in training. The predictions here have the mean of the noise.",
            )
        )
    if "kl_nats" in found:
        bits = metrics.nats_to_bits(found["kl_nats"].mean())
        rows.append(
            (
                "information in the latent",
                f"{bits:.1f} bits per image",
                "On average, a sampled latent vector says at most so much about the image. What "
                f"tells the classes apart is at most log2({classes}) = {np.log2(classes):.1f} "
                "bits. The predictions here use the mean of the latent vector, which this does not "
                "limit.",
            )
        )
    lines = (
        f"<tr><th>{name}</th><td>{value}</td><td><small>{gloss}</small></td></tr>"
        for name, value, gloss in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _overlays(examples, maps, predicted, probabilities):
    chosen = _in_turn(examples.labels)[:_SHOWN]
    text = (
        "Images of the classes in turn, and beside each the same image as its attention map lets "
        "it through: dark is what the model passes least of. Each map has its own scale."
    )
    cards = _cards(examples, maps, predicted, probabilities, chosen)
    return f"<h2>Where it looks</h2><p>{text}</p>{cards}"


def _in_turn(labels):
    """Returns the indices of the first image of each class, then of the second, and so on."""
    by_class = np.argsort(labels, kind="stable")
    _, firsts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    number = np.empty(len(labels), int)
    number[by_class] = np.arange(len(labels)) - np.repeat(firsts, counts)
    return np.lexsort((labels, number))


def _mistakes(examples, maps, predicted, probabilities):
    wrong = np.flatnonzero(predicted != examples.labels)
    heading = "<h2>The most confident mistakes</h2>"
    if not len(wrong):
        return f"{heading}<p>There are none.</p>"
    confidence = probabilities[wrong, predicted[wrong]]
    chosen = wrong[np.argsort(-confidence)][:_MISTAKES]
    text = "Wrong predictions with the highest probabilities. Look for wrong labels"
    text += "." if maps is None else ", and for maps beside the object."
    cards = _cards(examples, maps, predicted, probabilities, chosen)
    return f"{heading}<p>{text}</p>{cards}"


def _cards(examples, maps, predicted, probabilities, chosen):
    """Returns each image, with its map over it beside it, and below them what it is taken for."""
    cards = []
    for index in chosen:
        image = examples.images[index]
        true, found = (
            html.escape(examples.class_names[label])
            for label in (examples.labels[index], predicted[index])
        )
        share = f"{100 * probabilities[index].max():.0f}&nbsp;%"
        right = examples.labels[index] == predicted[index]
        caption = f"<b>{true}</b>, found with {share}"
        if not right:
            caption = f"<b>{true}</b>, taken for <b>{found}</b> with {share}"
        pictures = _picture(image, f"An image of the class {true}")
        if maps is not None:
            pictures += _picture(
                shaded(image, maps[index]), f"The same image under its map, taken for {found}"
            )
        cards.append(
            f'<figure><div class="pair">{pictures}</div><figcaption>{caption}</figcaption></figure>'
        )
    size = "cards small" if max(examples.input_shape[:2]) < _SMALL else "cards"
    return f'<div class="{size}">{"".join(cards)}</div>'


def _picture(image, alt):
    """Returns an image element. `alt` is escaped already."""
    kind = "png" if max(image.shape[:2]) < _SMALL else "jpeg"
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=90)
    return _image_element(buffer, kind, alt)


def _image_element(buffer, kind, alt):
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{alt}" src="data:image/{kind};base64,{data}">'


def _confusion(examples, predicted):
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    names, classes = examples.class_names, len(examples.class_names)
    labels = class_labels(names)
    counts = confusion_matrix(examples.labels, predicted, labels=range(classes))
    # Room for the longest name on both axes.
    side = max(2.5, min(12.0, 0.3 * classes)) + 0.09 * max(map(len, names)) + 0.5
    figure = new_figure(side, side)
    ConfusionMatrixDisplay(counts, display_labels=labels).plot(
        include_values=classes <= _SHOWN,
        xticks_rotation="vertical",
        colorbar=False,
        ax=figure.subplots(),
    )
    return "<h2>Confusion matrix</h2>" + _figure(
        figure,
        _most_confused(counts, names),
        "Rows: the true classes. Columns: the predicted ones. On the diagonal, they are the same."
        + _legend(labels, names),
    )


def _legend(labels, names):
    """Returns the names of the classes that have a number in a figure."""
    numbered = [
        f"{label}: {name}"
        for number, (label, name) in enumerate(zip(labels, names, strict=True))
        if label == f"#{number}"
    ]
    return f" {', '.join(numbered)}." if numbered else ""


def _most_confused(counts, names):
    text = f"Confusion matrix: {np.trace(counts)} of {counts.sum()} images are on the diagonal."
    confused = counts - np.diag(np.diag(counts))
    if not confused.any():
        return text
    true, found = np.unravel_index(confused.argmax(), confused.shape)
    return f"{text} {names[true]} is taken for {names[found]} most often: {confused.max()} times."


def _calibration(found):
    count = found.count.sum()
    figure = plots.reliability_figure(
        {"evaluation images": {"predictions": found}}, join=count >= _ENOUGH
    )
    caption = (
        "On the diagonal, the model is right as often as it says. Below, it is overconfident. Each "
        "marker stands for the images of about that probability; a larger one for more of them."
    )
    if count < _ENOUGH:
        caption += (
            f" {count} images are too few to tell: chance alone moves the markers far from the "
            "diagonal."
        )
    return "<h2>Can the probabilities be believed?</h2>" + _figure(
        figure,
        "Share of right predictions against the probability of the predicted class. The expected "
        f"calibration error is {100 * found.expected_calibration_error:.1f} %.",
        caption,
    )


def _figure(figure, alt, caption):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return (
        f"<figure>{_image_element(buffer, 'png', html.escape(alt))}"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
