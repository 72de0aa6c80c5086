"""recipes/faithfulness.py on small models of cluttered digits."""

import json
import shutil

import keras
import numpy as np
import pytest
from absl import app, flags
from scipy import special
from small import untrained_run

from aib_keras import data, explain, metrics
from aib_keras.experiments import map_scores

# Minutes, as a whole. CI runs the slow tests of recipes.
pytestmark = pytest.mark.slow

MAPS = ["own", "own, quantised", "Grad-CAM", "gradient", "uniform", "Gaussian"]


@pytest.fixture(scope="module")
def runs(small_run, tmp_path_factory):
    """A folder with the work directories of a model with a map and of one without."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(small_run, folder / "cluttered_digits-vgg_aib_qt-seed0")
    workdir = folder / "cluttered_digits-vgg-seed0"
    untrained_run(workdir, model="vgg", settings={"width": 0.03})
    return folder


@pytest.fixture(scope="module")
def run(load_recipe):
    """`run(folder, *arguments)`: runs the recipe in this process; its module is `run.recipe`."""

    def run(folder, *arguments):
        settings = [f"--runs={folder}", "--steps=4", "--examples=6", "--batch_size=6"]
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["faithfulness", "--models=vgg,vgg_aib_qt", *settings, *arguments])
        run.recipe.main([])

    run.recipe = load_recipe("faithfulness")
    return run


def test_measures_every_map_once(runs, run, capsys, monkeypatch):
    run(runs)
    printed = capsys.readouterr().out
    assert "vgg has no map" in printed
    workdir = runs / "cluttered_digits-vgg_aib_qt-seed0"
    found = json.loads((workdir / "faithfulness-scores.json").read_text())["found"]
    assert list(found["maps"]) == MAPS
    assert found["evaluated_examples"] == 6
    assert_scores_are_those_of_the_maps(workdir, found["maps"])
    uniform = found["maps"]["uniform"]
    assert uniform["pointing"] == pytest.approx(uniform["energy"], abs=1e-5)
    named = {"title": "vgg_aib_qt", "workdir": str(workdir), "prepared": "32x32 pixels", **found}
    assert json.loads((runs / "faithfulness.json").read_text()) == [named]
    text = (runs / "faithfulness.md").read_text()
    assert text in printed
    assert "## cluttered_digits, test[:32], 32x32 pixels" in text
    for name in MAPS:
        assert f"| `vgg_aib_qt` | 0 | {name} | " in text

    monkeypatch.delattr(keras.saving, "load_model")
    run(runs, "--models=vgg_aib_qt")
    printed = capsys.readouterr().out
    assert "measured already" in printed
    assert text in printed
    # Other settings measure anew.
    with pytest.raises(AttributeError, match="load_model"):
        run(runs, "--models=vgg_aib_qt", "--seed=1")


def test_further_maps_and_scores_by_name(runs, run):
    names, curves = ["own", "Grad-CAM++", "Score-CAM"], ["deletion", "road"]
    run(runs, f"--maps={','.join(names)}", f"--curves={','.join(curves)}", "--steps=2")
    text = (runs / "faithfulness.md").read_text()
    assert "| model | seed | map | deletion AUC ↓ | ROAD AUC ↓ | pointing ↑ |" in text
    for name in names:
        assert f"| `vgg_aib_qt` | 0 | {name} | 0." in text
    for flag in ("--maps=own,Grad-CAM+", "--curves=deletions"):
        with pytest.raises(app.UsageError, match="unknown value .*Expected some of"):
            run(runs, flag)


def assert_scores_are_those_of_the_maps(workdir, scores):
    model = keras.saving.load_model(workdir / "model.keras")
    digits = data.load("cluttered_digits", "test[:6]")
    explained = model.explain(digits.images)
    maps = {
        "own": explained["attention"],
        "own, quantised": explained["attention_quantized"],
        "Grad-CAM": explain.grad_cam(model, digits.images),
        "gradient": explain.gradient_map(model, digits.images, (16, 16)),
        "uniform": np.ones((6, 16, 16, 1)),
        "Gaussian": explain.gaussian_map((6, 16, 16, 1)),
    }
    place, settings = (digits.boxes, (32, 32)), {"steps": 4, "seed": 0, "verbose": 0}
    whole = special.softmax(explained["logits"], axis=-1).max(axis=-1).mean()
    for name, each in maps.items():
        found = scores[name]
        for score in ("insertion", "deletion"):
            expected = getattr(metrics, score)(model, digits.images, each, **settings)
            assert found[score] == pytest.approx(expected["auc"], abs=1e-5), (name, score)
            np.testing.assert_allclose(found[f"{score}_curve"], expected["curve"], atol=1e-5)
        assert found["pointing"] == pytest.approx(metrics.pointing_game(each, *place), abs=1e-5)
        energy = metrics.energy_pointing_game(each, *place)
        assert found["energy"] == pytest.approx(energy, abs=1e-5)
        # Deletion starts, and insertion ends, with the whole image.
        assert found["deletion_curve"][0] == pytest.approx(whole, abs=1e-5)
        assert found["insertion_curve"][-1] == pytest.approx(whole, abs=1e-5)
    assert len({tuple(found["deletion_curve"]) for found in scores.values()}) > 3


def test_no_such_training(tmp_path, run):
    with pytest.raises(app.UsageError, match="no finished training"):
        run(tmp_path)


def test_columns_of_boxes_only_where_there_are_boxes(run):
    measured = {
        "title": "vgg_gap",
        "model": "vgg_gap",
        "seed": 3,
        "evaluated_examples": 1000,
        "maps": {"own": {"insertion": 0.5, "deletion": 0.25}},
    }
    text = run.recipe.section(("cifar10", "test"), [measured])
    assert "| `vgg_gap` | 3 | own | 0.500 | 0.250 |\n" in text
    assert "pointing" not in text
    assert "energy" not in text
    assert "box" not in text


def test_some_maps_of_a_model_without_one_are_measured_once(runs, monkeypatch):
    workdir = runs / "cluttered_digits-vgg-seed0"
    result = {**json.loads((workdir / "result.json").read_text()), "workdir": str(workdir)}
    settings = map_scores.Settings(6, 2, ("own", "Grad-CAM", "uniform"), steps=2)
    monkeypatch.setattr(map_scores, "gradient_map", None)
    found = map_scores.measure(result, settings, without_map=True)
    assert list(found["maps"]) == ["Grad-CAM", "uniform"]
    monkeypatch.delattr(keras.saving, "load_model")
    assert map_scores.measure(result, settings, without_map=True) == found
