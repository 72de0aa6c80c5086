"""Whole small trainings through `train`, as the recipes run them."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from PIL import Image
from scipy import special
from small import small_config, untrained_run

from aib_keras import data, experiments, metrics, zoo
from aib_keras.experiments import examples, results, run
from aib_keras.training import checkpoint, read_map_history
from aib_keras.utils.files import read_json, read_json_lines, write_json
from aib_keras.utils.maps import map_similarity

# With the augmentation that has the most to draw.
CONFIG = small_config(train_split="train[:96]", epochs=3, prediction_samples=4, augment="photo")


def weights_of(workdir):
    model = keras.saving.load_model(workdir / "model.keras")
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


class StopAfterError(Exception):
    pass


def stop_after_epoch(monkeypatch, epoch, workdir):
    """Trains, and ends as a kill right after an epoch's checkpoint would."""
    original = checkpoint.Checkpoint.on_epoch_end

    def on_epoch_end(self, index, logs=None):
        original(self, index, logs)
        if index + 1 == epoch:
            raise StopAfterError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "on_epoch_end", on_epoch_end)
        with pytest.raises(StopAfterError):
            experiments.train(CONFIG, workdir, verbose=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, experiments.train(CONFIG, workdir, verbose=0)


def test_a_training_leaves_what_the_readme_says(finished):
    workdir, result = finished
    names = {path.name for path in workdir.iterdir()}
    expected = {
        "config.json",
        "training.json",
        "metrics.jsonl",
        "result.json",
        "card.md",
        "model.keras",
    }
    assert expected | {"attention.png", "maps", "checkpoint", "tensorboard"} == names
    assert json.loads((workdir / "result.json").read_text()) == result
    assert result["config"]["settings"] == CONFIG.settings
    assert (workdir / "card.md").read_text().startswith("# vgg_aib_qt on cluttered_digits")
    assert result["parameters"] == zoo.vgg_aib_qt(**CONFIG.settings).count_params()
    lines = read_json_lines(workdir / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for name in ("kl_nats", "quantization_mse", "commitment_mse", "anchors_in_use", "val_nll"):
        assert np.isfinite(lines[-1][name])
    assert (workdir / "attention.png").read_bytes().startswith(b"\x89PNG")
    assert list((workdir / "tensorboard").rglob("*tfevents*"))


def test_the_result_is_what_the_saved_model_does(finished):
    workdir, result = finished
    model = keras.saving.load_model(workdir / "model.keras")
    evaluation = data.load("cluttered_digits", CONFIG.test_split)

    logits = model.predict(evaluation.images, verbose=0)
    error = np.mean(logits.argmax(axis=-1) != evaluation.labels)
    assert result["test_error_last_epoch"] == pytest.approx(error, abs=1e-6)
    assert result["last_epoch"]["nll"] == pytest.approx(nll(logits, evaluation.labels), rel=1e-4)
    lines = read_json_lines(workdir / "metrics.jsonl")
    best = 1 - max(line["val_accuracy"] for line in lines)
    assert result["test_error_best_epoch"] == pytest.approx(best, abs=1e-6)

    sampled = model.predict_mc(evaluation.images, samples=4, seed=CONFIG.seed)["logits"]
    error = np.mean(sampled.argmax(axis=-1) != evaluation.labels)
    assert result["test_error_last_epoch_sampled"] == pytest.approx(error, abs=1e-6)
    assert result["nll_sampled"] == pytest.approx(nll(sampled, evaluation.labels), rel=1e-4)
    assert result["nll_sampled"] != pytest.approx(result["last_epoch"]["nll"], rel=1e-4)

    explained = model.explain(evaluation.images)
    quantised = explained["attention_quantized"]
    similarity = map_similarity(quantised[1:], quantised[:-1]).mean()
    assert result["map_similarity"] == pytest.approx(similarity, abs=1e-6)
    # The residual modulation of the paper: all features pass.
    assert "map_passes" not in result
    assert "need not show what the classifier uses" in (workdir / "card.md").read_text()
    maps = explained["attention"]
    assert result["pointing"] == pytest.approx(
        metrics.pointing_game(maps, evaluation.boxes, (32, 32)), abs=1e-6
    )
    # A uniform map points into the box as often as a cell of it lies there.
    centres = np.arange(1, 32, 2)
    y0, x0, y1, x1 = evaluation.boxes.T[..., None]
    rows, columns = (centres >= y0) & (centres < y1), (centres >= x0) & (centres < x1)
    shares = rows.mean(axis=1) * columns.mean(axis=1)
    assert result["pointing_uniform_map"] == pytest.approx(shares.mean(), abs=1e-6)


def nll(logits, labels):
    """The mean negative log-likelihood of labels, in nats."""
    return -special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean()


def test_the_maps_of_every_epoch_are_kept(finished):
    workdir, _ = finished
    history = read_map_history(workdir / "maps")
    assert len(history) == CONFIG.epochs
    assert [epoch["attention"].shape for epoch in history] == [(8, 16, 16, 1)] * 3
    assert [epoch["anchors"].shape for epoch in history] == [(20,)] * 3
    model = keras.saving.load_model(workdir / "model.keras")
    anchors = keras.ops.convert_to_numpy(model.attention.quantizer.anchors)
    np.testing.assert_array_equal(history[-1]["anchors"], anchors)


def test_a_finished_training_says_so_and_stops(finished, capsys):
    workdir, result = finished
    before = {path: path.stat().st_mtime for path in workdir.rglob("*")}
    assert experiments.train(CONFIG, workdir, verbose=0) == result
    assert "finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime for path in workdir.rglob("*")}


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_result(finished, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    stop_after_epoch(monkeypatch, 1, workdir)
    assert not (workdir / "result.json").exists()
    result = experiments.train(CONFIG, workdir, verbose=0)
    assert_same_weights(weights_of(workdir), weights_of(finished[0]))
    assert [line["epoch"] for line in read_json_lines(workdir / "metrics.jsonl")] == [1, 2, 3]
    assert result["test_error_last_epoch"] == finished[1]["test_error_last_epoch"]


def test_held_out_examples_come_from_the_training_set_and_the_test_set_is_not_read(monkeypatch):
    loaded = []
    original = data.load

    def load(name, split, **arguments):
        loaded.append(split)
        return original(name, split, **arguments)

    monkeypatch.setattr(data, "load", load)
    train_data, held, evaluated_on = experiments.load_data(
        dataclasses.replace(CONFIG, validation_examples=16)
    )
    assert loaded == ["train[:96]"]
    assert (len(train_data), len(held)) == (80, 16)
    assert "held out" in evaluated_on


def test_validation_errors_are_not_called_test_errors():
    config = dataclasses.replace(CONFIG, validation_examples=16)
    lines = [{"epoch": 1, "val_accuracy": 0.5, "seconds": 1.0}]
    _, held, _ = experiments.load_data(config)
    model = zoo.vgg_aib(width=0.03, latent_dim=4)
    result = results.result(config, model, 80, held, "held out", lines)
    assert "validation_error_last_epoch_sampled" in result
    assert "validation_error_last_epoch" in result
    assert not [name for name in result if name.startswith("test")]


def test_too_few_examples_for_a_batch_is_an_error(tmp_path):
    config = dataclasses.replace(CONFIG, batch_size=128)
    with pytest.raises(ValueError, match="128"):
        experiments.train(config, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_photos_that_changed_since_the_training_are_told(tmp_path):
    photos = tmp_path / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(photos / name / "1.png")
    config = small_config(dataset=str(photos), test_split="test", train_split="train")
    workdir = tmp_path / "run"
    workdir.mkdir()
    write_json(workdir / "config.json", config.resolved().to_json())
    result = {"model": "vgg", "files": examples.files_digest(str(photos), None)}
    write_json(workdir / "result.json", result)
    assert experiments.train(config, workdir) == result
    Image.new("RGB", (8, 8)).save(photos / "cat" / "2.png")
    with pytest.raises(ValueError, match="have changed since the training in"):
        experiments.train(config, workdir)


def test_photos_that_come_during_a_training_are_told(tmp_path, monkeypatch):
    photos, load = tmp_path / "photos", run.load_data
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (32, 32), (index, 0, 0)).save(photos / name / f"{index}.png")

    def load_and_add(config):
        found = load(config)
        Image.new("RGB", (32, 32)).save(photos / "cat" / "new.png")
        return found

    monkeypatch.setattr(run, "load_data", load_and_add)
    config = small_config(
        dataset=str(photos), train_split="train", test_split="test", batch_size=4, image_size=32
    )
    result = experiments.train(config, tmp_path / "run", verbose=0)
    with pytest.raises(ValueError, match="have changed since the training"):
        examples.load_evaluation(result)


def test_photos_that_changed_before_a_resume_are_told(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (32, 32), (index, 0, 0)).save(photos / name / f"{index}.png")
    config = small_config(
        dataset=str(photos), train_split="train", test_split="test", batch_size=4, image_size=32
    )

    class StoppedError(Exception):
        pass

    class Stop(keras.callbacks.Callback):
        def __init__(self, *arguments):
            super().__init__()

        def on_train_batch_end(self, batch, logs=None):
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(run, "ErrorLine", Stop)
        with pytest.raises(StoppedError):
            experiments.train(config, tmp_path / "run")
    (photos / "cat" / "3.png").rename(photos / "cat" / "30.png")
    with pytest.raises(ValueError, match="have changed since the training in .* began"):
        experiments.train(config, tmp_path / "run")


def test_a_chain_of_initial_weights_is_followed(tmp_path):
    untrained_run(tmp_path / "first")
    second = untrained_run(tmp_path / "second", initial_weights=str(tmp_path / "first"))
    second["config"]["dataset"] = "cifar10"
    write_json(tmp_path / "second" / "result.json", second)
    config = small_config(initial_weights=str(tmp_path / "second"), validation_examples=16)
    with pytest.raises(ValueError, match=r"the last 16 examples of 'train\[:64\]'.* 0 were held"):
        experiments.train(config, tmp_path / "third")


def test_what_the_initial_weights_were_trained_on_is_not_to_evaluate_on(tmp_path):
    untrained_run(tmp_path / "first")
    config = small_config(initial_weights=str(tmp_path / "first"), validation_examples=16)
    with pytest.raises(ValueError, match=r"the last 16 examples of 'train\[:64\]'.* 0 were held"):
        experiments.train(config, tmp_path / "second")
    config = small_config(initial_weights="vgg_aib_qt/digits", validation_examples=16)
    with pytest.raises(ValueError, match="'vgg_aib_qt/digits' come from a training on clutter"):
        experiments.train(
            dataclasses.replace(config, train_split="train[:5000]"), tmp_path / "second", verbose=0
        )
    # Of images that have changed since, some may have moved from one part to the other.
    content = read_json(tmp_path / "first" / "result.json")
    photos = tmp_path / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(photos / name / "1.png")
    content["config"]["dataset"], content["files"] = str(photos), "0"
    write_json(tmp_path / "first" / "result.json", content)
    config = small_config(initial_weights=str(tmp_path / "first"), dataset=str(photos))
    with pytest.raises(ValueError, match="whose images have changed since"):
        experiments.train(config, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_data_that_cannot_be_read_leave_no_folder(tmp_path):
    photo = tmp_path / "photos" / "robin" / "broken.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"not a photo")
    config = dataclasses.replace(CONFIG, dataset=str(tmp_path / "photos"))
    with pytest.raises(ValueError, match="robin"):
        experiments.train(config, tmp_path / "runs" / "run", verbose=0)
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_something_else_is_refused_before_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", None)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not the folder of a training"):
        experiments.train(CONFIG, tmp_path, verbose=0)


@pytest.mark.slow
def test_a_training_starts_from_a_finished_one(finished, tmp_path):
    # Its learning rate changes next to nothing, and its batch norms stand still.
    second = dataclasses.replace(
        CONFIG,
        initial_weights=str(finished[0]),
        freeze_batch_norm=True,
        learning_rate=1e-12,
        epochs=1,
        prediction_samples=0,
    )
    result = experiments.train(second, tmp_path / "second", verbose=0)
    found, expected = weights_of(tmp_path / "second"), weights_of(finished[0])
    # It belongs to the training.
    del expected["encoder/beta"]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-9, err_msg=name)
    assert result["test_error_last_epoch"] == finished[1]["test_error_last_epoch"]
    assert f"Started from {finished[0]}." in (tmp_path / "second" / "card.md").read_text()


@pytest.mark.parametrize("source", ["vg/cifar10", "nowhere", "runs/nothing"])
def test_initial_weights_that_there_are_not_are_told_before_data_are_read(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(data, "load", None)
    config = dataclasses.replace(CONFIG, initial_weights=source)
    with pytest.raises(ValueError, match="or the folder of a finished training") as error:
        experiments.train(config, tmp_path / "run", verbose=0)
    assert repr(source) in str(error.value)
    assert not (tmp_path / "run").exists()
