"""recipes/table2.py on a small model of cluttered digits."""

import shutil

import keras
import pytest
from absl import flags
from small import untrained_run

from aib_keras import zoo
from aib_keras.metrics.consistency import THRESHOLDS
from aib_keras.utils.files import read_json, write_json

NAMES = [
    *(f"colour window {size}" for size in (4, 8, 12, 16)),
    *(f"image window {size}" for size in (4, 8, 12, 16)),
    "high frequencies r > 4",
    "low frequencies r < 12",
]


@pytest.fixture(scope="module")
def table2(load_recipe):
    return load_recipe("table2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    # The smallest of the models with a map.
    workdir = runs / "digits-vgg_gap-seed0"
    untrained_run(workdir, model="vgg_gap", test_split="test[:24]", settings={"width": 0.03})
    return runs


@pytest.fixture
def runs(trained, tmp_path):
    """A folder with a trained model that has a map, and one that has none."""
    shutil.copytree(trained, tmp_path / "runs")
    plain = tmp_path / "runs" / "digits-vgg-seed0"
    plain.mkdir()
    result = read_json(tmp_path / "runs" / "digits-vgg_gap-seed0" / "result.json")
    result["config"] = {**result["config"], "model": "vgg", "settings": {"width": 0.03}}
    write_json(plain / "result.json", {**result, "model": "vgg"})
    zoo.vgg(width=0.03).save(plain / "model.keras")
    return tmp_path / "runs"


def parse(*arguments):
    for name in ("models", "examples", "threshold"):
        flags.FLAGS[name].unparse()
    flags.FLAGS(["table2.py", *arguments])


def run(recipe, runs, *arguments):
    patches = ("--patches=cluttered_digits", "--patches_split=train[:50]")
    parse(f"--runs={runs}", *patches, *arguments)
    recipe.main([])


def refuse(*args, **kwargs):
    raise AssertionError("this was done before")


def test_the_papers_figures_are_of_models_in_the_zoo(table2):
    for figures in table2.PAPER.values():
        assert set(figures) <= set(zoo.list_models())
        assert {len(row) for row in figures.values()} == {len(NAMES)}


@pytest.mark.slow
def test_a_table_of_what_is_trained_and_no_work_twice(table2, runs, capsys, monkeypatch):
    run(table2, runs)
    out = capsys.readouterr().out
    assert "digits-vgg-seed0 is left out: vgg has no map." in out
    text = (runs / "table2.md").read_text()
    assert text in out
    assert f"| model |  | {' | '.join(NAMES)} | other image |" in text
    assert "- `vgg_gap`, seed 0: width 0.03 of the paper's; 1 epoch of 200; 64 training" in text
    assert "scored on 24 images of test[:24]." in text

    path = runs / "digits-vgg_gap-seed0" / "consistency.json"
    kept = read_json(path)
    found = kept["found"]
    assert [change["name"] for change in found["perturbations"]] == NAMES
    for change in found["perturbations"]:
        assert 0 <= change["images_of_unchanged_class"] <= change["images"] == 24
        assert len(change["scores"]) == len(change["intervals"]) == len(THRESHOLDS)
    (row,) = read_json(runs / "table2.json")
    assert row["perturbations"] == found["perturbations"]
    assert len(row["other_image"]) == len(THRESHOLDS)

    # A kill after the sixth perturbation, and the same command again.
    write_json(path, {**kept, "found": {**found, "perturbations": found["perturbations"][:6]}})
    run(table2, runs)
    assert read_json(path) == kept
    out = capsys.readouterr().out
    assert "image window 12" in out
    assert "seed0: image window 8" not in out

    (runs / "digits-vgg-seed0" / "result.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(keras.saving, "load_model", refuse)
        run(table2, runs)
    assert (runs / "table2.md").read_text() == text

    run(table2, runs, "--examples=8", "--models=vgg_gap", "--threshold=0.57")
    assert {change["images"] for change in read_json(path)["found"]["perturbations"]} == {8}
    assert "above 0.57" in (runs / "table2.md").read_text()


def test_windows_grow_with_the_images(table2):
    parse()
    sizes = [make.args[0] for make in table2.perturbations([224, 224, 3])[:8]]
    assert sizes == [28, 56, 84, 112] * 2


def test_the_papers_figures_are_beside_ours_and_no_score_is_a_dash(table2):
    curve = [0.5] * len(THRESHOLDS)
    change = {"images": 9, "images_of_unchanged_class": 4, "scores": curve}
    change["intervals"] = [[0.25, 0.75]] * len(THRESHOLDS)
    none = {**change, "images_of_unchanged_class": 0, "scores": [None] * len(THRESHOLDS)}
    none["intervals"] = [[None, None]] * len(THRESHOLDS)
    row = {
        "title": "vgg_aib",
        "model": "vgg_aib",
        "dataset": "cifar10",
        "seed": 0,
        "paper": table2.PAPER["cifar10"]["vgg_aib"],
        "reductions": [],
        "evaluated_on": "test",
        "settings": {"patches": "svhn_cropped", "map": "attention"},
        "other_image": curve,
        "perturbations": [
            {**(none if name == NAMES[-1] else change), "name": name} for name in NAMES
        ],
    }
    parse()
    lines = table2.section("cifar10", NAMES, [row, {**row, "seed": 1}]).splitlines()
    assert [line for line in lines if "| paper |" in line] == [
        "| `vgg_aib` | paper | 99.22 | 99.69 | 93.78 | 20.59 | 98.59 | 97.52 | 97.35 | 72.86 | "
        "99.91 | 53.26 | – |"
    ]
    assert f"| `vgg_aib` | seed 1 | {'50.00 | ' * 9}– | 50.00 |" in lines
    assert f"|  | 95 % interval | {'25.0–75.0 | ' * 9}– |  |" in lines
    assert f"|  | images | {'4 | ' * 9}0 |  |" in lines
    assert "- `vgg_aib`, seed 0: full size; scored on 9 images of test." in lines
