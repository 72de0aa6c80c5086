"""The report of a trained classifier, one HTML file."""

import html.parser

import keras
import numpy as np
import pytest

from aib_keras import data, zoo
from aib_keras.experiments import report


class Parsed(html.parser.HTMLParser):
    """The text, the images and the open tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.text, self.sources, self.links, self.open = "", [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.sources.append(attributes["src"])
        self.links += [attributes[name] for name in ("href",) if name in attributes]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def examples():
    found = data.load("cluttered_digits", "test[:40]")
    names = tuple(f"<{name}>" for name in found.class_names)
    return data.ImageData(found.images, found.labels, names)


def test_it_says_what_the_model_does(examples, small_run, tmp_path):
    model = keras.saving.load_model(small_run / "model.keras")
    path = tmp_path / "report.html"
    numbers = report.write_report(path, model, examples, "digits & maps")
    page = Parsed(path.read_text())
    assert page.open == []
    assert page.text.count("digits & maps") == 2
    predicted = model.predict(examples.images, verbose=0).argmax(axis=1)
    assert numbers["error"] == pytest.approx(np.mean(predicted != examples.labels))
    assert numbers["error_interval"][0] <= numbers["error"] <= numbers["error_interval"][1]
    assert f"{100 * numbers['error']:.1f} %" in page.text
    for name, scores in numbers["scores"].items():
        assert f"{name}{scores['insertion']:.3f}{scores['deletion']:.3f}" in page.text
    # All in one file: the maps, the mistakes, the confusion matrix and the calibration.
    assert len(page.sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert page.links == []


def test_a_model_without_a_map_has_a_report_without_maps(examples, tmp_path):
    model = zoo.vgg(width=0.03)
    numbers = report.write_report(tmp_path / "report.html", model, examples, "vgg")
    page = Parsed((tmp_path / "report.html").read_text())
    assert "scores" not in numbers
    assert "Where it looks" not in page.text
    assert len(page.sources) == 3
