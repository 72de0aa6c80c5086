"""Trainings with frozen features that are computed once."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from small import small_config

from aib_keras import data, experiments, training, zoo
from aib_keras.experiments import frozen_features
from aib_keras.experiments.config import TrainingConfig
from aib_keras.utils.files import read_json_lines


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vgg", {}),
        ("vgg_aib_qt", {"modulation": "mask", "latent_dim": 8}),
    ],
)
def test_the_weights_are_those_of_a_training_that_computes_them_in_every_step(
    name, settings, tmp_path, monkeypatch, capsys
):
    digits = data.load("cluttered_digits", "train[:24]")
    # Not Adam: it turns the rounding error of a gradient that is 0, of a bias before a batch norm,
    # into steps of full size.
    config = TrainingConfig(
        freeze="features",
        augment="none",
        epochs=2,
        batch_size=8,
        optimizer="sgd",
        learning_rate=0.01,
    )
    trained = []
    for fit in (training.fit, frozen_features.fit_head):
        keras.utils.set_random_seed(0)
        model = zoo.create(name, width=0.03, **settings)
        model.freeze("features")
        fit(model, digits, digits.take(8), config, tmp_path / fit.__name__, verbose=0)
        trained.append(model)
    for one, other in zip(trained[0].variables, trained[1].variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=one.path)
    loaded = keras.saving.load_model(tmp_path / "fit_head" / "model.keras")
    logits = (keras.ops.convert_to_numpy(each(digits.images[:4])) for each in (loaded, trained[1]))
    np.testing.assert_array_equal(*logits)
    # A finished training needs no features.
    monkeypatch.setattr(frozen_features, "_features", None)
    again = zoo.create(name, width=0.03, **settings)
    again.freeze("features")
    capsys.readouterr()
    path = tmp_path / "fit_head"
    frozen_features.fit_head(again, digits, digits.take(8), config, path, verbose=0)
    assert capsys.readouterr().out == f"{path} holds a finished training: loaded its weights.\n"
    head, wanted = (frozen_features._split(m, digits.input_shape)[1] for m in (again, trained[1]))
    for one, other in zip(head.variables, wanted.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`freeze` 'features' keeps layers whose weights are random")
def test_recipes_compute_them_once_where_nothing_changes_them(tmp_path, capsys):
    config = small_config(freeze="features", augment="none", epochs=1)
    experiments.train(config, tmp_path / "once")
    images, residual, features, epoch = capsys.readouterr().out.splitlines()
    assert images == "64 images to train on, 32 to evaluate on (test[:32])."
    assert residual.startswith("The map of `modulation` 'residual'")
    assert "computing them once" in features
    (line,) = read_json_lines(tmp_path / "once" / "metrics.jsonl")
    errors = [f"{100 * (1 - line[name]):.1f}" for name in ("accuracy", "val_accuracy")]
    pattern = r"Epoch 1/1: training error (\S+) %, test error (\S+) %, \d+ s"
    assert list(re.fullmatch(pattern, epoch).groups()) == errors


def test_each_epoch_takes_one_of_the_views_of_every_image(tmp_path, monkeypatch):
    digits = data.load("cluttered_digits", "train[:16]")
    config = TrainingConfig(
        freeze="features", feature_views=3, epochs=2, batch_size=8, optimizer="sgd"
    )
    model = zoo.vgg(width=0.03)
    model.freeze("features")
    seen = []

    def fit(whole, head, train_data, validation_data, config, workdir, augment, **settings):
        assert whole is model
        # What the model computes of the images as they are.
        expected = head.layers[0].output.shape[1:]
        views, labels = train_data
        assert views.shape == (16, 3, *expected)
        assert validation_data[0].shape == (8, *expected)
        np.testing.assert_array_equal(labels, digits.labels)
        seen.append((views, augment(views, np.random.default_rng(0))))

    monkeypatch.setattr(frozen_features, "fit_part", fit)
    for _ in range(2):
        frozen_features.fit_head(
            model, digits, digits.take(8), config, tmp_path, data.CropFlip(), verbose=0
        )
    views, chosen = seen[0]
    np.testing.assert_array_equal(views, seen[1][0])
    assert all(np.ptp(each, axis=0).max() > 0 for each in views)
    which = [
        [bool((one == view).all()) for view in views_of]
        for one, views_of in zip(chosen, views, strict=True)
    ]
    assert all(sum(each) == 1 for each in which)
    assert np.any(which, axis=0).all()
    # A view is what the model computes of an augmented image, here half of them mirrored.
    mirror = data.CropFlip(padding=0)
    frozen_features.fit_head(model, digits, digits.take(8), config, tmp_path, mirror, verbose=0)
    features, _ = frozen_features._split(model, digits.input_shape)
    both = [features.predict(i, verbose=0) for i in (digits.images, digits.images[:, :, ::-1])]
    for index, views_of in enumerate(seen[2][0]):
        for view in views_of:
            assert min(np.abs(view - each[index]).max() for each in both) < 1e-5


@pytest.mark.slow
def test_a_finished_training_with_views_is_loaded(tmp_path, monkeypatch):
    digits = data.load("cluttered_digits", "train[:16]")
    config = TrainingConfig(freeze="features", feature_views=2, epochs=1, batch_size=8)
    augment = data.CropFlip()
    for _ in range(2):
        model = zoo.vgg(width=0.03)
        model.freeze("features")
        lines = frozen_features.fit_head(
            model, digits, digits.take(8), config, tmp_path / "run", augment, verbose=0
        )
        # A finished training needs no features.
        monkeypatch.setattr(frozen_features, "_features", None)
    assert [line["epoch"] for line in lines] == [1]


def test_a_training_that_ended_early_is_finished(tmp_path, monkeypatch, capsys):
    digits = data.load("cluttered_digits", "train[:16]")
    config = TrainingConfig(
        freeze="features", augment="none", epochs=5, batch_size=8, patience=1, validation_examples=8
    )
    # Only the statistics of the batch norms change, and after a while they do not help.
    config = dataclasses.replace(config, optimizer="sgd", learning_rate=0.0)
    models = []
    for _ in range(2):
        model = zoo.vgg(width=0.03)
        model.freeze("features")
        lines = frozen_features.fit_head(
            model, digits, digits.take(8), config, tmp_path / "run", verbose=0
        )
        assert 2 <= lines[-1]["epoch"] < 5
        models.append(model)
        monkeypatch.setattr(frozen_features, "_features", None)
    assert "holds a finished training" in capsys.readouterr().out
    logits = (keras.ops.convert_to_numpy(each(digits.images[:4])) for each in models)
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize(
    "settings", [{"augment": "none", "freeze": "features"}, {"freeze": "nothing"}]
)
def test_views_need_an_augmentation_and_frozen_layers(settings):
    with pytest.raises(ValueError, match="`feature_views` 2 needs frozen layers"):
        TrainingConfig(feature_views=2, **settings)


@pytest.mark.filterwarnings("ignore:`freeze` 'features' keeps layers whose weights are random")
def test_views_of_features_with_noise_are_an_error(tmp_path):
    config = small_config(
        model="wrn",
        settings={"width": 0.05, "dropout": 0.3},
        freeze="features",
        feature_views=2,
        augment="crop",
    )
    with pytest.raises(ValueError, match="`feature_views` 2 is for plain models"):
        experiments.train(config, tmp_path, verbose=0)


def test_features_that_change_or_do_not_fit_into_memory_are_not_kept(monkeypatch):
    model, digits = zoo.vgg(width=0.03), (4, 4, (32, 32, 3))
    config = TrainingConfig(freeze="features", augment="none")
    assert frozen_features.can_compute_once(model, config, *digits)
    for changes in ({"augment": "crop"}, {"freeze": "nothing"}):
        changed = dataclasses.replace(config, **changes)
        assert not frozen_features.can_compute_once(model, changed, *digits)
    # 16x16 positions of 8 channels, 4 bytes each.
    monkeypatch.setattr(frozen_features, "_MOST_BYTES", 8 * 16 * 16 * 8 * 4)
    assert frozen_features.can_compute_once(model, config, *digits)
    assert not frozen_features.can_compute_once(model, config, 4, 5, (32, 32, 3))


@pytest.mark.parametrize(
    ("name", "settings", "once"),
    [("wrn", {"dropout": 0.0}, True), ("wrn", {"dropout": 0.3}, False), ("vgg_att3", {}, False)],
)
def test_features_with_noise_and_models_with_several_outputs_are_trained_as_a_whole(
    name, settings, once
):
    model = zoo.create(name, width=0.05, **settings)
    model.freeze("features")
    config = TrainingConfig(freeze="features", augment="none")
    assert frozen_features.can_compute_once(model, config, 4, 4, (32, 32, 3)) is once


def test_frozen_layers_with_random_weights_are_a_warning(tmp_path):
    with pytest.raises(UserWarning, match="random, because neither `initial_weights` nor"):
        experiments.train(small_config(freeze="backbone"), tmp_path, verbose=0)
