"""recipes/modulations.py on trainings of seconds, each in a process of its own."""

import json

import pytest
from absl import app, flags

from aib_keras.experiments import sweep

SMALL = ["--train_split=train[:96]", "--epochs=1", "--batch_size=32", "--width=0.03"]


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("modulations")


def run(recipe, runs, *arguments):
    flags.FLAGS.unparse_flags()
    own = [
        f"--runs={runs}",
        "--validation_examples=32",
        "--examples=8",
        "--curve_examples=4",
        "--steps=2",
        *arguments,
    ]
    flags.FLAGS(["modulations", *own])
    recipe.main(["modulations", *SMALL])


@pytest.mark.slow
def test_scores_every_point_and_the_plain_model_on_held_out_examples(recipe, tmp_path, monkeypatch):
    run(recipe, tmp_path, "--points=residual:0,mask:0.3", "--plain=vgg")
    rows = json.loads((tmp_path / "modulations.json").read_text())
    found = [(row["modulation"], row["map_beta"]) for row in rows]
    assert found == [("none", 0), ("residual", 0), ("mask", 0.3)]
    assert all("held out" in row["evaluated_on"] for row in rows)
    assert list(rows[0]["maps"]) == ["Grad-CAM", "uniform", "Gaussian"]
    assert list(rows[2]["maps"])[0] == "own"
    for row in rows:
        low, high = row["error_interval"]
        assert low <= row["error"] <= high
        assert 0 < row["maps"]["Grad-CAM"]["insertion"] < 1
        assert 0 < row["maps"]["uniform"]["energy"] < 0.5
    configs = [json.loads(path.read_text()) for path in tmp_path.glob("*/config.json")]
    assert sorted(config["settings"].get("map_beta", -1) for config in configs) == [-1, 0, 0.3]
    text = (tmp_path / "modulations.md").read_text()
    assert f"| `vgg_aib_qt` | mask | 0.3 | 0 | {100 * rows[2]['error']:.1f} | " in text

    # The same command again starts no process and measures nothing.
    monkeypatch.setattr(sweep.subprocess, "run", None)
    run(recipe, tmp_path, "--points=residual:0,mask:0.3", "--plain=vgg")
    assert (tmp_path / "modulations.md").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points=masks:1"], "MODULATION:MAP_BETA with a modulation of residual, mask, noise"),
        (["--points=mask:-1"], "--points=mask:-1: a price .* is 0 or more"),
        (["--points=mask:much"], "--points: expected numbers, got 'much'"),
        (["--seeds=zero"], "--seeds: expected integers"),
        (["--plain=vg"], "Did you mean"),
        (["--maps=own,cam"], "--maps: unknown value cam. Expected some of own,"),
    ],
)
def test_bad_flags_are_errors_before_any_training(recipe, tmp_path, arguments, message):
    with pytest.raises(app.UsageError, match=message):
        run(recipe, tmp_path, *arguments)
