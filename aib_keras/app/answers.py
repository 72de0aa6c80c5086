"""What the page answers when something on it is changed."""

import dataclasses
import functools
import html
import pathlib

import gradio as gr
import numpy as np

from aib_keras.app import changes, links, rendering
from aib_keras.app.predictions import GRAD_CAM, QUANTIZED, Prediction, Trained
from aib_keras.data import pixels

# How long uploads and pictures stay on the disk.
KEPT_HOURS = 4
# Images of a contact sheet, and the longest side of one in pixels.
MOST_FILES = 60
_THUMBNAIL = 256
HINT = "Drop an image, or choose an example."
FOLDER_HINT = f"The sheet shows the first {MOST_FILES} files of a folder, in the order of names."


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """A map of an image: of one model, in one range of colours.

    Attributes:
        model: Name of the model.
        trained: The `Trained` model.
        kind: Name of the map.
        found: `Prediction` for the image.
        stretch, opacity: The settings of the page.
    """

    model: str
    trained: Trained
    kind: str
    found: Prediction
    stretch: bool
    opacity: float

    @property
    def title(self):
        return f"{self.kind} of {self.model}"

    @functools.cached_property
    def limits(self):
        return rendering.limits(self.found.maps[self.kind], self.stretch)

    def painted(self, picture):
        """Overlays the map on a picture of the image."""
        return self._painted(picture, self.found, self.trained.transform.box)

    def painted_modified(self, picture, found):
        """Overlays the map of the modified image on what the model sees, in the same colours."""
        return self._painted(picture, found, (0.0, 0.0, 1.0, 1.0))

    def _painted(self, picture, found, box):
        nearest = self.kind == QUANTIZED
        attention = found.maps[self.kind]
        return _or_error(
            rendering.painted, picture, attention, box, self.limits, self.opacity, nearest
        )


class Answers:
    """The functions of the page.

    Args:
        choices: `aib_keras.app.choices.Choices`.
        samples: `aib_keras.app.samples.Samples`.
        uploads: Path of the folder of uploads. No other file is read for a visitor.
    """

    def __init__(self, choices, samples, uploads):
        self._choices, self._samples, self._uploads = choices, samples, uploads

    def open(self, request: gr.Request):
        """Returns what a link asks for: a notice of what is wrong with it, and all settings."""
        view, problems = _or_error(links.read, request.query_params, self._choices, self._samples)
        listing = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
        notice = "<b>The link is wrong.</b> The page shows its usual settings in place of:"
        return (
            gr.HTML(f"{notice}<ul>{listing}</ul>", visible=bool(problems)),
            view.model,
            str(self._samples.paths[view.image]),
            view.opacity,
            view.stretch,
            view.perturbation,
            gr.Number(view.seed, visible=changes.has_place(view.perturbation)),
            *self._controls(view.model, view.map, view.compare, view.perturbation, view.size),
        )

    def settle(self, model, image, kind, compare, perturbation):
        """Returns the settings that depend on the model and on the perturbation."""
        trained = _or_error(self._choices.load, model)
        kind = kind if kind in trained.maps else trained.maps[0]
        if compare not in links.comparable(self._choices, model):
            compare = links.NOTHING
        return (
            self._fitting_image(model, image),
            gr.Number(visible=_or_error(changes.has_place, perturbation)),
            *self._controls(model, kind, compare, perturbation),
        )

    def _controls(self, model, kind, compare, perturbation, size=None):
        trained = self._choices.load(model)
        slider = changes.slider(perturbation, trained.transform.size)
        fitting = self._fitting(model)
        comparable = links.comparable(self._choices, model)
        return (
            gr.Radio(list(trained.maps), value=kind),
            gr.Dropdown(comparable, value=compare),
            gr.Slider(maximum=slider.maximum, value=size or slider.value, label=slider.label),
            *(gr.Column(visible=group is fitting) for group in self._samples.groups),
        )

    def _fitting(self, model):
        """Returns the samples for a model."""
        return self._samples.fitting(self._choices.dataset(model), self._choices.photos(model))

    def _fitting_image(self, model, image):
        """Returns a sample image in place of one that is for other models."""
        fitting = self._fitting(model)
        name = None if image is None else self._samples.name_of(self._path(image), fitting)
        if name is None or name in fitting:
            return gr.skip()
        return str(next(iter(fitting.values())))

    def look(self, model, image, kind, compare, opacity, stretch, perturbation, size, seed):
        """Returns everything that is shown for an image and its perturbation."""
        if image is None:
            return blank(HINT)
        trained = _or_error(self._choices.load, model)
        other = _or_error(links.compared, self._choices, model, kind, compare)
        change = _or_error(changes.perturbation, perturbation, size, seed, trained.transform.size)
        path = self._path(image)
        photo = _decoded(path)
        picture, seen = rendering.shown(photo), trained.transform.apply(photo)
        modified = change(seen[None])[0]
        with_grad_cam = kind == GRAD_CAM or other == (model, GRAD_CAM)
        # Both at once, because each call of Keras's predict has a fixed cost.
        before, after = _or_error(trained.predict, np.stack([seen, modified]), with_grad_cam)
        side = _Side(model, trained, kind, before, stretch, opacity)
        sides = [side]
        if other is not None:
            sides.append(self._other_side(side, *other, photo))
        shares = zip(trained.class_names, before.probabilities, strict=True)
        sample = self._samples.name_of(path, self._fitting(model))
        settings = (bool(stretch), perturbation, int(size), int(seed))
        part = rendering.proportioned(modified, picture, trained.transform.box)
        return (
            {name: float(share) for name, share in shares},
            *_shown(sides, picture),
            rendering.facts(trained, before, kind),
            part,
            side.painted_modified(part, after),
            rendering.comparison([("image", before, kind), ("modified", after, kind)]),
            _link(links.View(model, kind, compare, sample, opacity, *settings)),
        )

    def _other_side(self, side, model, kind, photo):
        trained, found = side.trained, side.found
        if model != side.model:
            trained = self._choices.load(model)
            seen = trained.transform.apply(photo)[None]
            (found,) = _or_error(trained.predict, seen, with_grad_cam=kind == GRAD_CAM)
        return _Side(model, trained, kind, found, side.stretch, side.opacity)

    def sheet(self, model, files, kind, opacity, stretch):
        """Returns the pictures of a contact sheet with their captions, and a text about it."""
        if not files:
            return None, FOLDER_HINT
        trained = _or_error(self._choices.load, model)
        _or_error(links.check_map, trained, kind)
        paths = sorted((self._path(file) for file in files), key=lambda path: path.name)
        # Systems leave hidden files in folders.
        paths = [path for path in paths if not path.name.startswith(".")]
        pictures, seen, bad = [], [], []
        for path in paths[:MOST_FILES]:
            try:
                photo = pixels.decode(path)
            except ValueError as error:
                bad.append(_readable(error, path))
                continue
            pictures.append((path.name, rendering.shown(photo, _THUMBNAIL)))
            seen.append(trained.transform.apply(photo))
        text = rendering.sheet_text(len(pictures), bad, more=len(paths) > MOST_FILES)
        if not pictures:
            return None, text
        predictions = _or_error(trained.predict, np.stack(seen), with_grad_cam=kind == GRAD_CAM)
        sheet = []
        for (name, picture), found in zip(pictures, predictions, strict=True):
            side = _Side(model, trained, kind, found, stretch, opacity)
            caption = f"{name}: {found.class_name} {found.probabilities.max():.0%}"
            sheet.append((side.painted(picture), caption))
        return sheet, text

    def _path(self, file):
        """Returns the path of an upload. Clients of the API can name any file on this machine."""
        path = file.get("path") if isinstance(file, dict) else None
        if not path or not _is_inside(path, self._uploads):
            raise gr.Error("The image is not an uploaded file. Upload it.", print_exception=False)
        if not pathlib.Path(path).exists():
            raise gr.Error(
                f"The image is no longer here: uploads are kept for {KEPT_HOURS} hours. Upload it "
                "again.",
                print_exception=False,
            )
        return pathlib.Path(path)


def blank(message):
    """Returns what `look` returns, without any result."""
    single = gr.Image(None, visible=True)
    return None, single, gr.ImageSlider(visible=False), "", "", message, None, None, "", ""


def _shown(sides, picture):
    """Returns one picture, or two with a slider between them, the scales and a table."""
    scales = rendering.scales({side.title: side.limits for side in sides})
    pictures = tuple(side.painted(picture) for side in sides)
    if len(sides) == 1:
        return gr.Image(pictures[0], visible=True), gr.ImageSlider(visible=False), scales, ""
    table = rendering.comparison(
        [
            (f"{place}: {side.title}", side.found, side.kind)
            for place, side in zip(("left", "right"), sides, strict=True)
        ]
    )
    return gr.Image(visible=False), gr.ImageSlider(pictures, visible=True), scales, table


def _link(view):
    link = f'<a href="?{html.escape(view.query)}">Link to this view</a>'
    if view.image is None:
        link += ". It opens with a sample image, because yours stays on this machine."
    return link


def _decoded(path):
    try:
        return pixels.decode(path)
    except ValueError as error:
        raise gr.Error(_readable(error, path), print_exception=False) from error


def _readable(error, path):
    """Returns a message about an upload. Where Gradio keeps it means nothing to its sender."""
    return html.escape(str(error).replace(str(path), path.name), quote=False)


def _is_inside(path, folder):
    try:
        return pathlib.Path(path).resolve().is_relative_to(pathlib.Path(folder).resolve())
    except (ValueError, OSError):
        return False


def _or_error(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except ValueError as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from error
