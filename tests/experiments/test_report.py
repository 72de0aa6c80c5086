"""The report of a trained classifier, one HTML file."""

import base64
import dataclasses
import html.parser
import io

import keras
import numpy as np
import pytest
from PIL import Image

from aib_keras import data, zoo
from aib_keras.experiments import report, report_scores
from aib_keras.plots.overlay import shaded


class Parsed(html.parser.HTMLParser):
    """The text, the images and the open tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.text, self.sources, self.alts, self.links, self.open = "", [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.sources.append(attributes["src"])
            self.alts.append(attributes["alt"])
        self.links += [attributes[name] for name in ("href",) if name in attributes]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def pixels(source):
    """The image of a `data:` URL."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


@pytest.fixture(scope="module")
def examples():
    found = data.load("cluttered_digits", "test[:40]")
    # Markup in HTML and in Matplotlib.
    names = tuple(f"<${name}_$5>" for name in found.class_names)
    return data.ImageData(found.images, found.labels, names)


@pytest.mark.slow
def test_it_says_what_the_model_does(examples, small_run, tmp_path, capsys):
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
        assert f"{name}{scores['insertion']:.2f}{scores['deletion']:.2f}" in page.text
    # A line per map and score, while they take minutes.
    explaining, *lines = capsys.readouterr().out.splitlines()
    assert explaining == "Report: explaining 40 images."
    assert lines[1] == "Report: deletion of this model's map (2 of 8)."
    assert len(lines) == 8
    for name, found in numbers["differences"].items():
        for score, (difference, low, high) in found.items():
            own = numbers["scores"]["this model's map"][score]
            assert difference == pytest.approx(own - numbers["scores"][name][score])
            assert low <= difference <= high
        assert f"Beside {name}, " in page.text
    assert "40 images are too few to tell" in page.text
    # All in one file: the first images and the mistakes, each beside its map, the confusion matrix
    # and the calibration.
    wrong = np.sum(predicted != examples.labels)
    assert len(page.sources) == 2 * 12 + 2 * min(wrong, 12) + 2
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    # The classes in turn.
    order = report._in_turn(examples.labels)
    assert examples.labels[order[:10]].tolist() == list(range(10))
    first = order[0]
    assert first == np.flatnonzero(examples.labels == 0)[0]
    true, found = (examples.class_names[each[first]] for each in (examples.labels, predicted))
    assert page.alts[:2] == [
        f"An image of the class {true}",
        f"The same image under its map, taken for {found}",
    ]
    np.testing.assert_array_equal(pixels(page.sources[0]), examples.images[first])
    attention = model.explain(examples.images[[first]])["attention"][0]
    np.testing.assert_array_equal(
        pixels(page.sources[1]), shaded(examples.images[first], attention)
    )
    assert page.alts[-2].startswith(f"Confusion matrix: {40 - wrong} of 40 images")
    assert page.links == []


@pytest.mark.parametrize("modulation", ["residual", "mask"])
def test_it_says_what_the_map_lets_through_where_it_is_a_share(modulation, examples, tmp_path):
    model = zoo.vgg_aib_qt(width=0.03, latent_dim=4, modulation=modulation)
    small = examples.take(6)
    numbers = report.write_report(tmp_path / "report.html", model, small, "small", verbose=0)
    if modulation == "residual":
        assert numbers["passes"] is None
    else:
        maps = model.explain(small.images)["attention_quantized"]
        assert numbers["passes"] == pytest.approx(maps.mean(), rel=1e-5)


def test_maps_of_a_few_cells_are_scored(examples):
    model = zoo.vgg(width=0.03)
    maps = np.random.default_rng(0).random((3, 2, 2, 1))
    found = report_scores.measure(model, examples.images[:3], maps, np.zeros(3, int), verbose=0)
    assert all(0 < each.mean() < 1 for scores in found.values() for each in scores.values())


def test_names_that_the_font_lacks_are_below_the_confusion_matrix(examples, tmp_path):
    names = ("鳥", *examples.class_names[1:9], "<猫>")
    named = dataclasses.replace(examples.take(6), class_names=names)
    report.write_report(tmp_path / "report.html", zoo.vgg(width=0.03), named, "vgg", verbose=0)
    page = Parsed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "they are the same. #0: 鳥, #9: <猫>." in page.text


def test_a_model_without_a_map_has_a_report_without_maps(examples, tmp_path):
    model = zoo.vgg(width=0.03)
    numbers = report.write_report(tmp_path / "report.html", model, examples, "vgg", verbose=0)
    page = Parsed((tmp_path / "report.html").read_text())
    assert "scores" not in numbers
    assert "Where it looks" not in page.text
    assert len(page.sources) == min(round(40 * numbers["error"]), 12) + 2


def test_the_scores_say_what_can_be_told_apart():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 30)
    own = {"insertion": 0.5 + noise, "deletion": 0.2 + noise}
    areas = {
        "this model's map": own,
        # The images differ by more than the maps do: only a paired comparison can tell.
        "Grad-CAM": {"insertion": own["insertion"] - 0.03, "deletion": own["deletion"] - 0.03},
        "a bump in the middle": {name: each + rng.normal(0, 0.1, 30) for name, each in own.items()},
    }
    text = Parsed(report_scores.section(areas)).text
    better = "Beside Grad-CAM, this model's map is better in insertion (difference +0.030, interval"
    assert f"{better} +0.030 to +0.030); this model's map is worse in deletion (" in text
    assert text.count("cannot be told apart") == 2
    # Two images that agree are no evidence.
    pair = {"this model's map": [0.52, 0.61], "a random order": [0.50, 0.60]}
    two = {name: dict.fromkeys(own, np.array(values)) for name, values in pair.items()}
    assert Parsed(report_scores.section(two)).text.count("cannot be told apart") == 2
    one = {name: {score: each[:1] for score, each in of.items()} for name, of in areas.items()}
    assert "With one image" in report_scores.section(one)


def test_large_photos_are_compressed():
    photo = np.random.default_rng(0).integers(0, 256, (6, 160, 3), np.uint8)
    found = Parsed(report._picture(photo, "a photo"))
    assert found.sources[0].startswith("data:image/jpeg;base64,")
    assert pixels(found.sources[0]).shape == photo.shape
