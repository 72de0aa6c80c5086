"""Links that reproduce a view of the page: its settings as query parameters."""

import dataclasses
import math
import urllib.parse

from aib_keras.app import changes
from aib_keras.utils.checks import check_choice
from aib_keras.utils.suggestions import did_you_mean

NOTHING = "nothing"
OPACITY, STRETCH = 0.6, True
_YES_NO = {"yes": True, "no": False}


@dataclasses.dataclass(frozen=True)
class View:
    """The settings of the page.

    Attributes:
        model: Name of the model.
        map: Name of the map that is shown.
        compare: "nothing", the name of another map of the same model, or the name of another model.
        image: Name of a sample image, or None for an upload.
        opacity: Number in [0, 1].
        stretch: Whether the colours are stretched to the map's own range.
        perturbation: Name of a perturbation.
        size: Its size.
        seed: The seed of its place and colour.
    """

    model: str
    map: str
    compare: str
    image: str | None
    opacity: float
    stretch: bool
    perturbation: str
    size: int
    seed: int

    @property
    def query(self):
        """The view as query parameters of a URL. An upload has none: it stays on this machine."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        values["stretch"] = "yes" if self.stretch else "no"
        return urllib.parse.urlencode(values)


def comparable(choices, model):
    """Returns what a map of a model can be compared with, "nothing" first."""
    return [NOTHING, *choices.load(model).maps, *(name for name in choices.names if name != model)]


def compared(choices, model, kind, compare):
    """Returns the (model, map) that a map of a model is compared with; None for itself.

    Another model is compared by the same map, if it has it, and otherwise by its first one.

    Raises:
        ValueError: if a name is wrong.
    """
    check_map(choices.load(model), kind)
    check_choice("compare", compare, comparable(choices, model))
    if compare in (NOTHING, kind):
        return None
    if compare not in choices.names:
        return model, compare
    maps = choices.load(compare).maps
    return compare, kind if kind in maps else maps[0]


def check_map(trained, kind):
    """Returns the name of a map if a `Trained` has it; ValueError lists those that it has."""
    return check_choice("map", kind, trained.maps)


def read(parameters, choices, samples):
    """Reads the query parameters of a link.

    Args:
        parameters: Mapping of strings.
        choices: The `Choices` of the page.
        samples: The `Samples` of the page.

    Returns:
        A `View`, and a list of sentences about parameters that are wrong. The view has defaults in
        their place.
    """
    problems = []

    def take(name, default, convert):
        if name not in parameters:
            return default
        try:
            return convert(parameters[name])
        except ValueError as error:
            problems.append(f"{name}={changes.short(parameters[name])}: {error}")
            return default

    # Names that begin like this are Gradio's own.
    given = (name for name in parameters if not name.startswith("__"))
    known = [field.name for field in dataclasses.fields(View)]
    problems += [
        f"{name[:40]}: a link has no such parameter.{did_you_mean(name, known)}"
        for name in given
        if name not in known
    ]

    def known_model(name):
        choices.load(name)
        return name

    def known_comparison(name):
        compared(choices, model, kind, name)
        return name

    model = take("model", choices.first, known_model)
    trained = choices.load(model)
    kind = take("map", trained.maps[0], lambda name: check_map(trained, name))
    fitting = [*samples.fitting(choices.dataset(model), choices.photos(model))]
    perturbation = take(
        "perturbation",
        changes.CHANGES[0],
        lambda name: check_choice("perturbation", name, changes.CHANGES),
    )
    image_size = trained.transform.size
    size = changes.slider(perturbation, image_size).value
    view = View(
        model,
        kind,
        take("compare", NOTHING, known_comparison),
        take("image", fitting[0], lambda name: check_choice("image", name, [*samples.paths])),
        take("opacity", OPACITY, _share),
        take("stretch", STRETCH, lambda word: _YES_NO[check_choice("stretch", word, _YES_NO)]),
        perturbation,
        take(
            "size", size, lambda text: changes.check_size(perturbation, _number(text), image_size)
        ),
        take("seed", 0, lambda text: changes.check_seed(_number(text))),
    )
    return view, problems


def _number(text):
    try:
        return float(text)
    except ValueError:
        # `changes` says what is expected in its place.
        return text


def _share(text):
    value = _number(text)
    if isinstance(value, str) or not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f"The opacity must be a number from 0 to 1, got {changes.short(text)}.")
    return value
