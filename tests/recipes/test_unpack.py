"""recipes/unpack.py on the bundled weights."""

import keras
import numpy as np
import pytest
from absl import app, flags

from aib_keras import zoo
from aib_keras.experiments import load_evaluation, measured
from aib_keras.utils.files import read_json, write_json


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("unpack")


def run(recipe, runs, weights):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["unpack", f"--runs={runs}", f"--weights={weights}"])
    recipe.main(["unpack"])


def test_the_work_directories_are_like_those_of_trainings(recipe, tmp_path, capsys):
    run(recipe, tmp_path, "vgg_aib_*/digits")
    workdir = tmp_path / "vgg_aib_qt-digits"
    assert capsys.readouterr().out == f"{workdir}\n"
    [result] = measured.chosen_trainings([tmp_path], ["vgg_aib_qt"])
    assert result["workdir"] == str(workdir)
    [entry] = [entry for entry in zoo.weights("vgg_aib_qt") if entry.name == "digits"]
    assert result["test_error_last_epoch"] == entry.error
    assert f"{100 * entry.error:.2f} %" in (workdir / "card.md").read_text()

    examples = load_evaluation(result).take(100)
    model = keras.saving.load_model(workdir / "model.keras")
    logits = model.predict(examples.images, verbose=0)
    published = zoo.vgg_aib_qt(weights="digits").predict(examples.images, verbose=0)
    np.testing.assert_allclose(logits, published, rtol=1e-4, atol=1e-4)
    assert (logits.argmax(axis=-1) != examples.labels).mean() < 0.1

    # The same weights again: nothing to do.
    before = (workdir / "model.keras").stat().st_mtime_ns
    run(recipe, tmp_path, "vgg_aib_qt/digits")
    assert (workdir / "model.keras").stat().st_mtime_ns == before
    write_json(workdir / "result.json", {**read_json(workdir / "result.json"), "sha256": "0" * 64})
    with pytest.raises(app.UsageError, match="holds something else, or an earlier version"):
        run(recipe, tmp_path, "vgg_aib_qt/digits")


def test_weights_that_there_are_not_are_an_error_before_any_folder(recipe, tmp_path):
    with pytest.raises(app.UsageError, match="No published weights are called 'vgg_aib_qt/digit'"):
        run(recipe, tmp_path / "runs", "vgg_aib_qt/digit")
    assert not (tmp_path / "runs").exists()


def test_weights_are_given_by_a_flag(recipe, tmp_path):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["unpack", f"--runs={tmp_path / 'runs'}"])
    with pytest.raises(app.UsageError, match="Unknown arguments: vgg/cifar10"):
        recipe.main(["unpack", "vgg/cifar10"])
    assert not (tmp_path / "runs").exists()
