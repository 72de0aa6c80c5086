"""`report.html`: what a person wants to see of a classifier of her own photos, in one file."""

import base64
import html
import io
import string

import numpy as np
from scipy import special, stats

from aib_keras import data, explain, metrics, plots
from aib_keras.plots.style import new_figure
from aib_keras.utils.files import atomic_path

# Images of each part of the report.
_SHOWN, _MISTAKES, _SCORED = 12, 12, 40
# Of the curves of insertion and deletion: each needs one prediction more, per image and map.
_STEPS = 8
_TITLE_LENGTH = 22

_PAGE = string.Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
img { max-width: 100%; }
table { border-collapse: collapse; }
td, th { padding: .25em .8em; border-bottom: 1px solid #ccc; text-align: left; }
figcaption, small { color: #555; }
</style>
<h1>$title</h1>
$body
</html>
""")


def write_report(path, model, examples, title):
    """Writes a report of a classifier on evaluation images, one HTML file without links.

    It has the error with its 95 % interval, the calibration, a confusion matrix, maps over the
    images, the mistakes that the model is most confident of, and insertion and deletion scores of
    the maps beside those of Grad-CAM of the same model and of maps that look at no image.

    Args:
        path: Path of the file.
        model: `ImageClassifier`.
        examples: `ImageData` that the model was not trained on.
        title: String.

    Returns:
        A dict of the numbers in the report.
    """
    found = model.explain(data.inputs_of(examples))
    probabilities = special.softmax(found["logits"].astype("float64"), axis=1)
    predicted, labels = probabilities.argmax(axis=1), examples.labels
    wrong = predicted != labels
    interval = stats.binomtest(int(wrong.sum()), len(wrong)).proportion_ci(method="wilson")
    numbers = {
        "images": len(labels),
        "error": float(wrong.mean()),
        "error_interval": [interval.low, interval.high],
        "nll": float(metrics.negative_log_likelihood(probabilities, labels)),
        "expected_calibration_error": float(
            metrics.expected_calibration_error(probabilities, labels)
        ),
    }
    maps = found[model.map_names[0]] if model.map_names else None
    # Of IB attention, which is a share.
    numbers["passes"] = float(maps.mean()) if "attention_std" in found else None
    body = [_facts(numbers, found)]
    if maps is not None:
        body.append(_overlays(examples, maps, predicted, probabilities))
    body.append(_mistakes(examples, maps, predicted, probabilities))
    body.append(_confusion(examples, predicted))
    body.append(_calibration(probabilities, labels))
    if maps is not None:
        numbers["scores"] = _scores(model, examples, maps)
        body.append(_score_table(numbers["scores"]))
    page = _PAGE.substitute(title=html.escape(title), body="\n".join(body))
    with atomic_path(path) as temporary:
        temporary.write_text(page)
    return numbers


def _facts(numbers, found):
    low, high = (100 * share for share in numbers["error_interval"])
    rows = [
        ("images, not trained on", f"{numbers['images']:,}"),
        ("error", f"{100 * numbers['error']:.1f} % (95 % interval {low:.1f} to {high:.1f} %)"),
        ("negative log-likelihood", f"{numbers['nll']:.3f} nats"),
        ("expected calibration error", f"{100 * numbers['expected_calibration_error']:.1f} %"),
    ]
    if numbers["passes"] is not None:
        rows.append(("the map passes, on average", f"{100 * numbers['passes']:.0f} %"))
    if "kl_nats" in found:
        bits = metrics.nats_to_bits(found["kl_nats"].mean())
        rows.append(("information in the latent", f"{bits:.1f} bits per image"))
    lines = (f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<table>{''.join(lines)}</table>"


def _overlays(examples, maps, predicted, probabilities):
    chosen = np.arange(min(_SHOWN, len(examples)))
    return "<h2>Where it looks</h2>" + _figure(
        _overlay(examples, maps, predicted, probabilities, chosen),
        "The first evaluation images as their attention maps let them through: dark is what the "
        "model passes least of. Each map has its own scale. Titles: the true class, and after an "
        "arrow the predicted one if it is another.",
    )


def _mistakes(examples, maps, predicted, probabilities):
    wrong = np.flatnonzero(predicted != examples.labels)
    heading = "<h2>The most confident mistakes</h2>"
    if not len(wrong):
        return f"{heading}<p>There are none.</p>"
    confidence = probabilities[wrong, predicted[wrong]]
    chosen = wrong[np.argsort(-confidence)][:_MISTAKES]
    return heading + _figure(
        _overlay(examples, maps, predicted, probabilities, chosen),
        "Wrong predictions with the highest probabilities. Look for wrong labels, and for maps "
        "beside the object.",
    )


def _overlay(examples, maps, predicted, probabilities, chosen):
    titles = []
    for index in chosen:
        true, found = (
            examples.class_names[label][:_TITLE_LENGTH]
            for label in (examples.labels[index], predicted[index])
        )
        right = examples.labels[index] == predicted[index]
        share = f"{100 * probabilities[index].max():.0f} %"
        titles.append(f"{true} {share}" if right else f"{true}\n→ {found} {share}")
    flat = np.zeros((len(chosen), 1, 1)) if maps is None else maps[chosen]
    opacity = 0.0 if maps is None else 0.85
    return plots.overlay_figure(examples.images[chosen], flat, titles, opacity=opacity)


def _confusion(examples, predicted):
    from sklearn.metrics import ConfusionMatrixDisplay

    classes = len(examples.class_names)
    figure = new_figure(*(2 * [max(4.0, min(12.0, 0.3 * classes + 2))]))
    ConfusionMatrixDisplay.from_predictions(
        examples.labels,
        predicted,
        labels=range(classes),
        display_labels=[name[:_TITLE_LENGTH] for name in examples.class_names],
        include_values=classes <= _SHOWN,
        xticks_rotation="vertical",
        colorbar=False,
        ax=figure.subplots(),
    )
    return "<h2>Confusion matrix</h2>" + _figure(
        figure, "Rows: the true classes. Columns: the predicted."
    )


def _calibration(probabilities, labels):
    found = metrics.reliability(probabilities, labels)
    figure = plots.reliability_figure({"evaluation images": {"predictions": found}})
    return "<h2>Can the probabilities be believed?</h2>" + _figure(
        figure,
        "On the diagonal, the model is right as often as it says. Below, it is overconfident.",
    )


def _scores(model, examples, maps):
    """Returns name -> insertion and deletion AUC, of the maps and of baselines."""
    images = examples.images[:_SCORED]
    shape = (len(images), *maps.shape[1:])
    candidates = {
        "this model's map": maps[: len(images)],
        "Grad-CAM": explain.grad_cam(model, images),
        "a bump in the middle": explain.gaussian_map(shape),
        "a random order": explain.uniform_map(shape),
    }
    return {
        name: {
            score.__name__: float(
                np.mean(score(model, images, values, steps=_STEPS, verbose=0)["auc"])
            )
            for score in (metrics.insertion, metrics.deletion)
        }
        for name, values in candidates.items()
    }


def _score_table(scores):
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{values['insertion']:.3f}</td>"
        f"<td>{values['deletion']:.3f}</td></tr>"
        for name, values in scores.items()
    )
    return (
        "<h2>Can the maps be believed?</h2><table><tr><th>map</th><th>insertion AUC, higher is "
        f"better</th><th>deletion AUC, lower is better</th></tr>{rows}</table><p><small>How fast "
        "the probability of the predicted class comes back, or goes, when the highest cells of the "
        f"map are restored, or removed, first. The first {_SCORED} images at most. A map that is "
        "no better than a random order says nothing about what the model uses. A bump in the "
        "middle looks at no image: where it is better, the objects are in the middle.</small></p>"
    )


def _figure(figure, caption):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
