"""The page: its layout, and what happens when something on it is changed."""

import functools
import html
import pathlib

import gradio as gr
import numpy as np

from aib_keras.app import changes, rendering

TITLE = "Where the model looks"
# How long uploads and pictures stay on the disk, and how often old ones are looked for.
_KEPT_HOURS = 4
_SOUGHT_SECONDS = 600
_WAITING = 16
_INTRODUCTION = f"""# {TITLE}
Drop an image, or choose an example. The map shows which parts of it the model lets through to its \
decision."""
# The system's fonts, because Gradio's own may come from Google.
THEME = gr.themes.Default(
    primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)
CSS = """
.gradio-container {width: 100%; max-width: 1180px !important; margin: auto !important}
.pixels img {image-rendering: pixelated; object-fit: contain; width: 100%; height: 100%;
    padding: 32px 4px 4px}
.scale-bar {height: 12px; border-radius: 3px; margin: 4px 0}
.scale-ends {display: flex; justify-content: space-between; font-size: 0.85em}
"""
# Gradio gives the buttons of `gr.Examples` no names that a screen reader could read.
_NAME_EXAMPLES = """() => document.querySelectorAll("#examples .gallery-item").forEach(
    (button, place) => button.setAttribute("aria-label", `Example ${place + 1}`))"""


def build(trainings, examples=()):
    """Builds the page as `gr.Blocks`, to be launched.

    Args:
        trainings: `aib_keras.app.predictions.Trainings`.
        examples: Paths of image files that fit models of the data set cluttered_digits.
    """
    first = trainings.first
    fits = len(examples) > 0 and _examples_fit(trainings, first)
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(_SOUGHT_SECONDS, 3600 * _KEPT_HOURS)
    ) as page:
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                model = gr.Dropdown(list(trainings.results), value=first, label="Model")
                image = gr.Image(
                    value=examples[0] if fits else None,
                    type="filepath",
                    sources=["upload", "clipboard"],
                    label="Image",
                    alt_text="The image that was given to the model",
                    height=260,
                    elem_classes="pixels",
                    elem_id="image",
                )
                _take_uploads_only(image)
                with gr.Column(visible=fits) as gallery:
                    if examples:
                        gr.Examples([[str(path)] for path in examples], [image], elem_id="examples")
                opacity = gr.Slider(0, 1, value=0.6, step=0.05, label="Opacity of the maps")
                stretch = gr.Checkbox(True, label="Stretch the colours to the map's own range")
            with gr.Column(scale=3, min_width=320):
                with gr.Row():
                    attention = _picture("Map", "The map over the image", "map")
                    quantized = _picture(
                        "Quantised map", "The quantised map over the image", "quantized"
                    )
                scale = gr.HTML(elem_id="scale")
                probabilities = gr.Label(
                    label="Class probabilities", num_top_classes=4, elem_id="probabilities"
                )
                facts = gr.Markdown(elem_id="facts")
        gr.Markdown("## Does the map stay when the image is modified?")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                kind = gr.Dropdown(
                    list(changes.CHANGES), value=changes.CHANGES[0], label="Perturbation"
                )
                size = gr.Slider(1, 32, value=8, step=1, label="Size", elem_id="size")
                seed = gr.Number(0, label="Seed of the place and the colour", minimum=0, step=1)
            with gr.Column(scale=3, min_width=320):
                with gr.Row():
                    modified = _picture("Modified image", "The modified image", "modified")
                    modified_map = _picture(
                        "Its map", "The map over the modified image", "modified-map"
                    )
                comparison = gr.Markdown(elem_id="comparison")

        outputs = [
            probabilities, attention, quantized, scale, facts, modified, modified_map, comparison
        ]  # fmt: skip
        # One at a time: Gradio runs its functions in several threads, Keras's `predict` is not made
        # for that, and `explain` builds helper models when it is first called.
        one_at_a_time = {"concurrency_id": "keras", "concurrency_limit": 1, "preprocess": False}
        # Without Gradio's preprocessing, which would decode the file before our checks run.
        look = {
            "fn": functools.partial(_look, trainings, image.GRADIO_CACHE),
            "inputs": [model, image, opacity, stretch, kind, size, seed],
            "outputs": outputs,
            "show_progress": "minimal",
            "show_progress_on": probabilities,
            **one_at_a_time,
        }
        looked = gr.on(
            [image.change, opacity.input, stretch.input, size.input, seed.input],
            **look,
            # A moving slider asks for many results, of which only the last is worth computing.
            trigger_mode="always_last",
            api_name="look",
        )
        settled = gr.on(
            [page.load, model.input, kind.input],
            functools.partial(_settle, trainings),
            [model, kind],
            [size, seed, gallery],
            show_progress="hidden",
            api_name="settle",
            **one_at_a_time,
        )
        settled.then(None, js=_NAME_EXAMPLES, api_visibility="private")
        looked_again = settled.success(**look, api_visibility="private")
        for event in (looked, settled, looked_again):
            # Results of another image next to an error would mislead.
            event.failure(
                functools.partial(_blank, "Nothing to show, because of the error."),
                None,
                outputs,
                api_visibility="private",
                show_progress="hidden",
            )
    # Closed to requests that bypass the queue, and with it the limit to one at a time.
    return page.queue(max_size=_WAITING, api_open=False)


def _picture(label, alt_text, elem_id):
    return gr.Image(
        label=label,
        alt_text=alt_text,
        format="png",
        interactive=False,
        height=260,
        buttons=["download", "fullscreen"],
        elem_classes="pixels",
        elem_id=elem_id,
    )


def _take_uploads_only(image):
    """Makes an image component refuse URLs, which Gradio would fetch for clients of its API."""
    move = image.async_move_resource_to_block_cache

    async def move_if_local(path):
        if "://" in str(path):
            raise gr.Error("Upload the image: addresses are not fetched.", print_exception=False)
        return await move(path)

    image.async_move_resource_to_block_cache = move_if_local


def _settle(trainings, model, kind):
    """Returns the controls for a model and a perturbation."""
    trained = _or_error(trainings.load, model)
    found = _or_error(changes.slider, kind, trained.transform.size)
    return (
        gr.Slider(maximum=found.maximum, value=found.value, label=found.label),
        gr.Number(visible=changes.has_place(kind)),
        gr.Column(visible=_examples_fit(trainings, model)),
    )


def _look(trainings, uploads, model, image, opacity, stretch, kind, size, seed):
    """Returns everything that is shown for an image and its perturbation."""
    if image is None:
        return _blank("Drop an image, or choose an example.")
    trained = _or_error(trainings.load, model)
    perturbation = _or_error(changes.perturbation, kind, size, seed, trained.transform.size)
    image = _read(trained, image, uploads)
    modified = perturbation(image[None])[0]
    # Both at once, because each call of Keras's predict has a fixed cost.
    before, after = _or_error(trained.predict, np.stack([image, modified]))
    limits = rendering.limits(before.attention, stretch)
    painted = functools.partial(_or_error, rendering.painted, limits=limits, opacity=opacity)
    shares = zip(trained.class_names, before.probabilities, strict=True)
    return (
        {name: float(share) for name, share in shares},
        painted(image, before.attention),
        painted(image, before.attention_quantized, nearest=True),
        rendering.scale(limits),
        rendering.facts(trained, before),
        rendering.enlarged(modified),
        painted(modified, after.attention),
        rendering.comparison(before, after),
    )


def _blank(message):
    return None, None, None, "", message, None, None, ""


def _read(trained, file, uploads):
    path = file.get("path")
    if not path or not _is_inside(path, uploads):
        raise gr.Error("The image is not an uploaded file. Upload it.", print_exception=False)
    if not pathlib.Path(path).exists():
        raise gr.Error(
            f"The image is no longer here: uploads are kept for {_KEPT_HOURS} hours. Upload it "
            "again.",
            print_exception=False,
        )
    try:
        return trained.transform.read(path)
    except ValueError as error:
        # The path where Gradio keeps an upload means nothing to its sender.
        message = html.escape(str(error).replace(path, pathlib.Path(path).name), quote=False)
        raise gr.Error(message, print_exception=False) from error


def _is_inside(path, folder):
    """Returns whether a path is in a folder. API clients can name any file on this machine."""
    try:
        return pathlib.Path(path).resolve().is_relative_to(pathlib.Path(folder).resolve())
    except (ValueError, OSError):
        return False


def _or_error(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except ValueError as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from error


def _examples_fit(trainings, name):
    return trainings.results[name]["dataset"] == "cluttered_digits"
