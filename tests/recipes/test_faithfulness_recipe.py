"""recipes/faithfulness.py on small trainings on cluttered digits."""

import json
import shutil

import pytest
from absl import app, flags
from small import small_config

from aib_keras import experiments

MAPS = ["own", "own, quantised", "Grad-CAM", "gradient", "uniform", "Gaussian"]


@pytest.fixture(scope="module")
def runs(small_run, tmp_path_factory):
    """A folder with the work directories of a model with a map and of one without."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(small_run, folder / "cluttered_digits-vgg_aib_qt-seed0")
    config = small_config(model="vgg", settings={"width": 0.03})
    experiments.train(config, folder / "cluttered_digits-vgg-seed0", verbose=0)
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
    found = json.loads((workdir / "faithfulness.json").read_text())
    assert list(found["maps"]) == MAPS
    assert found["evaluated_examples"] == 6
    for scores in found["maps"].values():
        for name in ("insertion", "deletion", "pointing", "energy"):
            assert 0 <= scores[name] <= 1
        assert len(scores["deletion_curve"]) == 5
    uniform = found["maps"]["uniform"]
    assert uniform["pointing"] == pytest.approx(uniform["energy"], abs=1e-5)
    assert json.loads((runs / "faithfulness.json").read_text()) == [found]
    text = (runs / "faithfulness.md").read_text()
    assert text in printed
    assert "## cluttered_digits" in text
    for name in MAPS:
        assert f"| `vgg_aib_qt` | 0 | {name} | " in text

    monkeypatch.delattr(run.recipe.keras.saving, "load_model")
    run(runs, "--models=vgg_aib_qt")
    printed = capsys.readouterr().out
    assert "measured already" in printed
    assert text in printed
    # Other settings measure anew.
    with pytest.raises(AttributeError, match="load_model"):
        run(runs, "--models=vgg_aib_qt", "--seed=1")


def test_no_such_training(tmp_path, run):
    with pytest.raises(app.UsageError, match="no finished training"):
        run(tmp_path)


def test_columns_of_boxes_only_where_there_are_boxes(run):
    measured = {
        "model": "vgg_gap",
        "seed": 3,
        "evaluated_examples": 1000,
        "maps": {"own": {"insertion": 0.5, "deletion": 0.25}},
    }
    text = run.recipe.markdown("cifar10", [measured])
    assert "| `vgg_gap` | 3 | own | 0.500 | 0.250 |" in text
    assert "box" not in text
