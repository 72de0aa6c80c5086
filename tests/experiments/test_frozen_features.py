"""Trainings with frozen features that are computed once."""

import dataclasses

import keras
import numpy as np
import pytest
from small import small_config

from aib_keras import data, experiments, training, zoo
from aib_keras.experiments import frozen_features
from aib_keras.experiments.config import TrainingConfig


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vgg", {}),
        pytest.param("vgg_aib_qt", {"modulation": "mask", "latent_dim": 8}, marks=pytest.mark.slow),
    ],
)
def test_the_weights_are_those_of_a_training_that_computes_them_in_every_step(
    name, settings, tmp_path
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


@pytest.mark.filterwarnings("ignore:`freeze` 'features' keeps layers whose weights are random")
def test_recipes_compute_them_once_where_nothing_changes_them(tmp_path, capsys):
    config = small_config(freeze="features", augment="none", epochs=1)
    experiments.train(config, tmp_path / "once", verbose=0)
    assert "computing them once" in capsys.readouterr().out


def test_features_that_change_or_do_not_fit_into_memory_are_not_kept(monkeypatch):
    model, digits = zoo.vgg(width=0.03), data.load("cluttered_digits", "train[:4]")
    config = TrainingConfig(freeze="features", augment="none")
    assert frozen_features.can_compute_once(model, config, digits)
    for changes in ({"augment": "crop"}, {"freeze": "nothing"}):
        changed = dataclasses.replace(config, **changes)
        assert not frozen_features.can_compute_once(model, changed, digits)
    monkeypatch.setattr(frozen_features, "_MOST_BYTES", 1000)
    assert not frozen_features.can_compute_once(model, config, digits)


@pytest.mark.parametrize(
    ("name", "settings", "once"),
    [("wrn", {"dropout": 0.0}, True), ("wrn", {"dropout": 0.3}, False), ("vgg_att3", {}, False)],
)
def test_features_with_noise_and_models_with_several_outputs_are_trained_as_a_whole(
    name, settings, once
):
    model = zoo.create(name, width=0.05, **settings)
    digits = data.load("cluttered_digits", "train[:4]")
    model.freeze("features")
    config = TrainingConfig(freeze="features", augment="none")
    assert frozen_features.can_compute_once(model, config, digits) is once


def test_frozen_layers_with_random_weights_are_a_warning(tmp_path):
    with pytest.raises(UserWarning, match="random, because neither `initial_weights` nor"):
        experiments.train(small_config(freeze="backbone"), tmp_path, verbose=0)
