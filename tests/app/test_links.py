"""Links: what the page writes it reads, and what is wrong with one is told."""

import types
import urllib.parse

import pytest

from aib_keras.app import links
from aib_keras.app.choices import Choice, Choices
from aib_keras.data import EvaluationTransform


def choice(name, *maps, dataset="photos", shows=0):
    trained = types.SimpleNamespace(maps=maps, transform=EvaluationTransform((32, 32)))
    return Choice(name, name, dataset, lambda: trained, (shows,))


CHOICES = Choices(
    [
        choice("a/x", "map", "quantised map", "Grad-CAM", shows=1),
        choice("b & c", "Grad-CAM"),
        choice("digits", "map", "Grad-CAM", dataset="digits"),
    ]
)
USUAL = links.View("a/x", "map", "nothing", "cat", 0.6, True, "colour window", 8, 0)


class Samples:
    paths = {"cat": "cat.jpg", "digit-1": "digit-1.png"}  # noqa: RUF012

    def fitting(self, dataset, own):
        return {"digit-1": "digit-1.png"} if dataset == "digits" else {"cat": "cat.jpg"}


def read(query):
    return links.read(dict(urllib.parse.parse_qsl(query)), CHOICES, Samples())


@pytest.mark.parametrize(
    "view",
    [
        USUAL,
        links.View("b & c", "Grad-CAM", "a/x", "cat", 0.0, False, "low-pass", 16, 3),
        links.View("digits", "map", "Grad-CAM", "digit-1", 1.0, True, "high-pass", 1, 2**31 - 1),
    ],
)
def test_a_link_reproduces_the_view(view):
    assert read(view.query) == (view, [])


def test_an_upload_is_not_in_the_link():
    view = links.View("digits", "map", "nothing", None, 0.6, True, "colour window", 8, 0)
    assert "image" not in view.query
    assert read(view.query)[0].image == "digit-1"


@pytest.mark.parametrize("query", ["", "__theme=dark"])
def test_without_parameters_it_is_the_usual_view(query):
    assert read(query) == (USUAL, [])


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("model=a/y", "model='a/y': There is no such model. Did you mean 'a/x'?"),
        ("map=heat", "map='heat': `map` must be 'map' or 'quantised map' or 'Grad-CAM'"),
        ("compare=a/y", "compare='a/y': `compare` must be 'nothing' or 'map' or"),
        ("image=dog", "image='dog': `image` must be 'cat' or 'digit-1'"),
        ("opacity=7", "opacity='7': The opacity must be a number from 0 to 1, got '7'."),
        ("opacity=nan", "a number from 0 to 1, got 'nan'"),
        ("opacity=half", "a number from 0 to 1, got 'half'"),
        ("stretch=maybe", "stretch='maybe': `stretch` must be 'yes' or 'no'"),
        ("perturbation=sepia", "`perturbation` must be 'colour window' or"),
        ("size=33", "a whole number from 1 to 32, got 33.0"),
        ("size=large", "a whole number from 1 to 32, got 'large'"),
        ("seed=-1", "The seed must be a whole number"),
        ("modle=a/x", "modle: a link has no such parameter. Did you mean 'model'?"),
    ],
)
def test_what_is_wrong_is_told_and_the_rest_is_taken(query, problem):
    view, (found,) = read(query)
    assert view == USUAL
    assert problem in found
    view, problems = read(f"{query}&{'seed=4' if 'seed' not in query else 'opacity=0.1'}")
    assert len(problems) == 1
    assert (view.seed, view.opacity) in {(4, 0.6), (0, 0.1)}


def test_long_values_are_cut_in_the_message():
    _, (problem,) = read(f"opacity={'9' * 10_000}x")
    assert len(problem) < 200


def test_the_map_must_be_one_of_the_model():
    view, (problem,) = read("model=b %26 c&map=map")
    assert (view.model, view.map) == ("b & c", "Grad-CAM")
    assert "`map` must be 'Grad-CAM', got 'map'" in problem


@pytest.mark.parametrize(
    ("model", "kind", "compare", "expected"),
    [
        ("a/x", "map", "nothing", None),
        ("a/x", "map", "map", None),
        ("a/x", "map", "Grad-CAM", ("a/x", "Grad-CAM")),
        ("a/x", "map", "digits", ("digits", "map")),
        # A model without this map is compared by the one that it has.
        ("a/x", "quantised map", "b & c", ("b & c", "Grad-CAM")),
    ],
)
def test_what_a_map_is_compared_with(model, kind, compare, expected):
    assert links.compared(CHOICES, model, kind, compare) == expected


@pytest.mark.parametrize(("kind", "compare"), [("map", "nothing"), ("Grad-CAM", "map"), ({}, [])])
def test_a_comparison_with_what_is_not_there_is_an_error(kind, compare):
    with pytest.raises(ValueError, match="must be"):
        links.compared(CHOICES, "b & c", kind, compare)
