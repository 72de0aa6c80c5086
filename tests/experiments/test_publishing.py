"""From a training to weights by name, by way of the recipe's functions."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from small import small_config

from aib_keras import data, experiments, zoo
from aib_keras.experiments import publishing, run
from aib_keras.utils.files import read_json

# They publish a small training.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(small_run, tmp_path_factory):
    """The zoo with the weights of a small training, and its entry."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "index.json").write_text("{}")
    entry = publishing.publish(small_run, "digits", folder, note="Trained by a test.", bundled=True)
    return folder, entry


@pytest.fixture(autouse=True)
def in_this_zoo(published, monkeypatch):
    monkeypatch.setenv("AIB_KERAS_ZOO", str(published[0]))


@pytest.mark.parametrize("name", ["../cifar10", "a/b", "", "cifar10.keras", "-x"])
def test_names_that_weights_cannot_have(name, published, small_run):
    before = sorted(published[0].rglob("*"))
    with pytest.raises(ValueError, match="expected a name such as"):
        publishing.publish(small_run, name, published[0])
    assert sorted(published[0].rglob("*")) == before


def test_a_folder_that_is_no_zoo(tmp_path, small_run):
    with pytest.raises(ValueError, match="is no zoo: it has no index.json"):
        publishing.publish(small_run, "digits", tmp_path)
    assert not list(tmp_path.iterdir())


def test_published_weights_load_by_name(published, small_run):
    _, entry = published
    model = zoo.vgg_aib_qt(weights="digits")
    trained = keras.saving.load_model(small_run / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    found, expected = (each.explain(images) for each in (model, trained))
    for name in ("attention", "logits"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-2, atol=1e-2)
    assert entry.error == read_json(small_run / "result.json")["test_error_last_epoch"]
    assert entry.bundled
    assert entry.command.startswith("aib-keras train --model=vgg_aib_qt")


def test_the_zoo_lists_what_was_published(published):
    folder, entry = published
    readme = (folder / "README.md").read_text()
    assert "| [`vgg_aib_qt`](cards/vgg_aib_qt-digits.md) | `digits` |" in readme
    card = (folder / "cards" / "vgg_aib_qt-digits.md").read_text()
    assert f"| error, last epoch | {100 * entry.error:.2f} % |" in card
    assert "Trained by a test." in card
    assert "| expected calibration error | " in card
    for picture in ("vgg_aib_qt-digits.png", "vgg_aib_qt-digits-curve.png"):
        assert f"({picture})" in card
        assert (folder / "cards" / picture).is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0.125}, "no weights of the same shapes for: .* and others"),
        ({"mean": (0.1, 0.1, 0.1)}, "normalised in another way"),
    ],
)
def test_layers_that_stay_as_they_are_come_from_the_initial_weights(
    settings, message, published, tmp_path
):
    del published
    config = small_config(initial_weights="vgg_aib_qt/digits", freeze="features")
    config = dataclasses.replace(config, settings={**config.settings, **settings})
    with pytest.raises(ValueError, match=message):
        experiments.train(config, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_a_training_starts_from_published_weights(published, tmp_path):
    config = small_config(
        model="vgg_aib",
        initial_weights="vgg_aib_qt/digits",
        freeze="features",
        learning_rate=1e-3,
        train_split="train[:32]",
    )
    experiments.train(config, tmp_path / "run", verbose=0)
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    source = zoo.vgg_aib_qt(weights="digits")
    frozen = zip(model.feature_extractor.weights, source.feature_extractor.weights, strict=True)
    for weight, expected in frozen:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (weight, expected)))
    # These started there, and were trained.
    kernels = [each.encoder.trunk.get_layer("block2_conv1").kernel for each in (model, source)]
    difference = np.abs(np.subtract(*map(keras.ops.convert_to_numpy, kernels))).max()
    assert 0 < difference < 0.05


def test_held_out_trainings_are_not_published(small_run, published, tmp_path):
    shutil.copytree(small_run, tmp_path / "run")
    result = read_json(small_run / "result.json")
    result["config"]["validation_examples"] = 8
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match="held-out"):
        publishing.publish(tmp_path / "run", "digits", published[0])


def test_a_training_without_test_data_is_evaluated_later(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run")
    expected = read_json(tmp_path / "run" / "result.json")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    lines = [{k: v for k, v in line.items() if not k.startswith("val_")} for line in lines]
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name in ("result.json", "card.md", "attention.png"):
        (tmp_path / "run" / name).unlink()
    found = run.evaluate(tmp_path / "run")
    assert found["test_error_last_epoch"] == expected["test_error_last_epoch"]
    assert found["last_epoch"]["nll"] == pytest.approx(expected["last_epoch"]["nll"], rel=1e-5)
    assert "test_error_best_epoch" not in found
    assert (tmp_path / "run" / "card.md").is_file()
    with pytest.raises(ValueError, match="not the folder of a training"):
        run.evaluate(tmp_path)


def test_trained_weights_count_more_than_those_of_imagenet(monkeypatch):
    monkeypatch.setattr(zoo, "create", lambda name, **settings: settings)
    config = small_config(settings={"backbone_weights": "imagenet", "map_beta": 0.1})
    images = data.load("cluttered_digits", "test[:2]")
    assert run._create(config, images)["backbone_weights"] == "imagenet"
    found = run._create(config, images, weights="model.keras")
    assert (found["weights"], found["map_beta"]) == ("model.keras", 0.1)
    assert "backbone_weights" not in found


def test_a_training_without_its_weights_is_not_published(published, small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("*.keras"))
    with pytest.raises(ValueError, match="has neither model.keras nor model.weights.h5"):
        publishing.publish(tmp_path / "run", "other", published[0])
    assert [entry.name for entry in zoo.weights("vgg_aib_qt")] == ["digits"]
