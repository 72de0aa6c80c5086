"""The page: its layout, and which answers follow when something on it is changed."""

import importlib.resources
import types

import gradio as gr

from aib_keras.app import answers, changes, links

TITLE = "Where the model looks"
# How often uploads and pictures that are too old are looked for.
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
.picture img {object-fit: contain; width: 100%; height: 100%; padding: 32px 4px 4px}
.scale-bar {height: 12px; border-radius: 3px; margin: 4px 0}
.scale-ends {display: flex; justify-content: space-between; font-size: 0.85em}
td:first-child {white-space: nowrap}
#sheet .grid-wrap {max-height: none}
"""
# `page.js` finds the button by its text.
_CHOOSE_FOLDER = "Choose a folder"
# Gradio runs its functions in several threads, Keras's `predict` is not made for that, and
# `explain` builds helper models when it is first called. Without Gradio's preprocessing, which
# would decode a file before our checks run.
_ONE_AT_A_TIME = {"concurrency_id": "keras", "concurrency_limit": 1, "preprocess": False}
_HIDDEN = {"api_visibility": "private", "show_progress": "hidden"}


def build(choices, samples):
    """Builds the page as `gr.Blocks`, to be launched.

    Args:
        choices: `aib_keras.app.choices.Choices`.
        samples: `aib_keras.app.samples.Samples`.
    """
    kept = (_SOUGHT_SECONDS, 3600 * answers.KEPT_HOURS)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=kept) as page:
        gr.Markdown(_INTRODUCTION)
        notice = gr.HTML(visible=False, elem_id="notice")
        settings = _settings(choices)
        with gr.Tab("One image"):
            one = _one_image(samples)
        with gr.Tab("A folder"):
            folder = _folder()
        answer = answers.Answers(choices, samples, one.image.GRADIO_CACHE)
        _connect_one_image(page, answer, notice, settings, one)
        _connect_folder(answer, settings, folder)
        page.load(None, js=_script(), **_HIDDEN)
    for component in page.blocks.values():
        _take_uploads_only(component)
    # Closed to requests that bypass the queue, and with it the limit to one at a time.
    return page.queue(max_size=_WAITING, api_open=False)


def _script():
    script = importlib.resources.files(__package__).joinpath("page.js").read_text()
    script = script.replace("MOST_FILES", str(answers.MOST_FILES))
    return script.replace("FOLDER", _CHOOSE_FOLDER)


def _settings(choices):
    with gr.Row():
        model = gr.Dropdown(choices.labels, value=choices.first, label="Model")
        kind = gr.Radio([], label="Map")
    with gr.Row():
        opacity = gr.Slider(0, 1, value=links.OPACITY, step=0.05, label="Opacity of the map")
        stretch = gr.Checkbox(links.STRETCH, label="Stretch the colours to the map's own range")
    return types.SimpleNamespace(model=model, kind=kind, opacity=opacity, stretch=stretch)


def _one_image(samples):
    one = types.SimpleNamespace(galleries=[], examples=[])
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            one.image = gr.Image(
                type="filepath",
                sources=["upload", "clipboard"],
                label="Image",
                alt_text="The image that was given to the model",
                height=260,
                elem_classes="picture",
                elem_id="image",
            )
            for paths in samples.groups:
                with gr.Column(visible=False, elem_classes="examples") as gallery:
                    one.galleries.append(gallery)
                    if paths:
                        files = [[str(path)] for path in paths.values()]
                        one.examples.append(gr.Examples(files, [one.image]))
            one.compare = gr.Dropdown([links.NOTHING], label="Compare with")
        with gr.Column(scale=3, min_width=320):
            one.map = _picture("Map", "The map over the image", "map", height=420)
            one.pair = gr.ImageSlider(
                interactive=False,
                format="png",
                visible=False,
                label="Two maps",
                show_label=False,
                buttons=["fullscreen"],
                elem_id="pair",
            )
            one.scale = gr.HTML(elem_id="scale")
            one.compared = gr.Markdown(elem_id="compared")
            one.probabilities = gr.Label(
                label="Class probabilities", num_top_classes=4, elem_id="probabilities"
            )
            one.facts = gr.Markdown(elem_id="facts")
            one.link = gr.HTML(elem_id="link")
    gr.Markdown("## Does the map stay when the image is modified?")
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            one.perturbation = gr.Dropdown(
                list(changes.CHANGES), value=changes.CHANGES[0], label="Perturbation"
            )
            one.size = gr.Slider(1, 32, value=8, step=1, label="Size", elem_id="size")
            one.seed = gr.Number(0, label="Seed of the place and the colour", minimum=0, step=1)
        with gr.Column(scale=3, min_width=320):
            with gr.Row():
                one.modified = _picture("Modified image", "The modified image", "modified")
                one.modified_map = _picture(
                    "Its map", "The map over the modified image", "modified-map"
                )
            one.comparison = gr.Markdown(elem_id="comparison")
    return one


def _folder():
    folder = types.SimpleNamespace()
    folder.files = gr.File(
        file_count="multiple", label="A folder, or several images", height=160, elem_id="files"
    )
    with gr.Row():
        folder.choose = gr.UploadButton(_CHOOSE_FOLDER, file_count="directory")
        folder.again = gr.Button("Show again, with the model and map above")
    folder.text = gr.Markdown(answers.FOLDER_HINT, elem_id="sheet-text")
    folder.sheet = gr.Gallery(
        label="Contact sheet",
        columns=5,
        height="auto",
        object_fit="contain",
        interactive=False,
        format="png",
        elem_id="sheet",
    )
    return folder


def _picture(label, alt_text, elem_id, height=260):
    return gr.Image(
        label=label,
        alt_text=alt_text,
        format="png",
        interactive=False,
        height=height,
        buttons=["download", "fullscreen"],
        elem_classes="picture",
        elem_id=elem_id,
    )


def _take_uploads_only(component):
    """Makes a component refuse URLs, which Gradio would fetch for clients of its API.

    It does so for any component, even if it is no file that it stands for.
    """
    move = component.async_move_resource_to_block_cache

    async def move_if_local(path):
        if "://" in str(path):
            raise gr.Error("Upload the image: addresses are not fetched.", print_exception=False)
        return await move(path)

    component.async_move_resource_to_block_cache = move_if_local


def _connect_one_image(page, answer, notice, settings, one):
    outputs = [
        one.probabilities, one.map, one.pair, one.scale, one.compared, one.facts, one.modified,
        one.modified_map, one.comparison, one.link,
    ]  # fmt: skip
    look = {
        "fn": answer.look,
        "inputs": [
            settings.model, one.image, settings.kind, one.compare, settings.opacity,
            settings.stretch, one.perturbation, one.size, one.seed,
        ],
        "outputs": outputs,
        "show_progress": "minimal",
        "show_progress_on": one.probabilities,
        **_ONE_AT_A_TIME,
    }  # fmt: skip
    changed = [settings.kind, one.compare, settings.opacity, settings.stretch, one.size, one.seed]
    looked = gr.on(
        [one.image.upload, *(setting.input for setting in changed)],
        **look,
        # A moving slider asks for many results, of which only the last is worth computing.
        trigger_mode="always_last",
        api_name="look",
    )
    chosen = [examples.load_input_event for examples in one.examples]
    controls = [settings.kind, one.compare, one.size, *one.galleries]
    opened = page.load(
        answer.open,
        None,
        [
            notice, settings.model, one.image, settings.opacity, settings.stretch,
            one.perturbation, one.seed, *controls,
        ],
        **_ONE_AT_A_TIME,
        # It loads a model, and ends with an image: one that came before would be lost.
        show_progress="minimal",
        show_progress_on=one.image,
        api_visibility="private",
    )  # fmt: skip
    settled = gr.on(
        [settings.model.input, one.perturbation.input],
        answer.settle,
        [settings.model, one.image, settings.kind, one.compare, one.perturbation],
        [one.image, one.seed, *controls],
        show_progress="hidden",
        api_name="settle",
        **_ONE_AT_A_TIME,
    )
    followed = [
        event.success(**look, api_visibility="private") for event in (opened, settled, *chosen)
    ]
    # A result that comes later would be of an image that is gone.
    one.image.clear(
        lambda: answers.blank(answers.HINT),
        None,
        outputs,
        cancels=[looked, *followed],
        **_HIDDEN,
    )
    for event in (looked, opened, settled, *followed):
        # Results of another image next to an error would mislead.
        event.failure(
            lambda: answers.blank("Nothing to show, because of the error."),
            None,
            outputs,
            **_HIDDEN,
        )


def _connect_folder(answer, settings, folder):
    show = {
        "fn": answer.sheet,
        "inputs": [settings.model, folder.files, settings.kind, settings.opacity, settings.stretch],
        "outputs": [folder.sheet, folder.text],
        **_ONE_AT_A_TIME,
    }
    shown = gr.on([folder.files.upload, folder.again.click], **show, api_name="sheet")
    chosen = folder.choose.upload(
        None, folder.choose, folder.files, js="(files) => [files]", **_HIDDEN
    ).then(**show, api_visibility="private")
    folder.files.clear(lambda: (None, answers.FOLDER_HINT), None, show["outputs"], **_HIDDEN)
    for event in (shown, chosen):
        event.failure(
            lambda: (None, "Nothing to show, because of the error."),
            None,
            show["outputs"],
            **_HIDDEN,
        )
