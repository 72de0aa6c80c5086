"""Batch norms behind an attention, for the prediction without noise."""

import keras
import numpy as np
import pytest
from keras import layers
from small import small_config

from aib_keras import experiments, models, training, zoo
from aib_keras.experiments import cards
from aib_keras.layers import Dropout

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 16, 16, 3)).astype("uint8")


def noisy_model(dropout=0.5):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, name="features")(x)
    x = layers.Conv2D(5, 3, name="behind")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(dropout, name="dropout")(layers.ReLU()(x))
    x = Dropout(dropout, name="our_dropout")(x)
    x = layers.Conv2D(6, 3, name="last")(x)
    x = layers.BatchNormalization(name="last_norm", momentum=0.7, trainable=False)(x)
    return models.attach(
        keras.Model(inputs, x),
        "features",
        3,
        latent_dim=4,
        modulation="noise",
        preprocessing=layers.Rescaling(1 / 255),
    )


def test_the_statistics_are_means_over_batches_without_noise():
    model = noisy_model()
    trunk = model.encoder.trunk
    before = {variable.path: np.array(variable) for variable in model.weights}
    assert training.recalibrate(model, IMAGES, batch_size=8) == 1
    # Of two batches; the rest of four images is left out.
    features = model.feature_extractor(model.preprocess(IMAGES[:16]))
    modulated = model.attention(features, training=False, sample=False)
    seen = np.array(trunk.get_layer("behind")(modulated)).reshape(2, 8, -1, 5)
    norm = trunk.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, seen.mean((1, 2)).mean(0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, seen.var((1, 2)).mean(0), rtol=1e-4)
    # It was frozen, so it has not seen noise.
    np.testing.assert_array_equal(trunk.get_layer("last_norm").moving_mean, np.zeros(6))
    assert norm.momentum == 0.99
    assert trunk.get_layer("dropout").rate == 0.5
    for variable in model.weights:
        if "moving" not in variable.path:
            np.testing.assert_array_equal(variable, before[variable.path], err_msg=variable.path)


def test_dropout_and_repetition_change_nothing():
    model, without = noisy_model(), noisy_model(dropout=0.0)
    without.set_weights(model.get_weights())
    for each in (model, without, model):
        training.recalibrate(each, IMAGES, batch_size=10)
    for one, other in zip(model.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_it_needs():
    with pytest.raises(ValueError, match="vgg has no batch norm behind an attention"):
        training.recalibrate(zoo.vgg(width=0.03), IMAGES)
    with pytest.raises(ValueError, match="There are 20 images, less than one batch of 128"):
        training.recalibrate(noisy_model(), IMAGES)
    frozen = noisy_model()
    frozen.freeze("backbone")
    with pytest.raises(ValueError, match="are frozen, so their statistics are not of noisy"):
        training.recalibrate(frozen, IMAGES, batch_size=10)


def test_a_recipe_recalibrates_and_says_so(tmp_path):
    settings = {"width": 0.03, "latent_dim": 4, "modulation": "noise"}
    results, found = {}, {}
    for recalibrate in (False, True):
        config = small_config(recalibrate=recalibrate, settings=settings)
        workdir = tmp_path / str(recalibrate)
        results[recalibrate] = experiments.train(config, workdir, verbose=0)
        found[recalibrate] = keras.saving.load_model(workdir / "model.keras").get_weights()
    pairs = zip(found[False], found[True], strict=True)
    assert any((one != other).any() for one, other in pairs)
    nlls = [results[recalibrate]["last_epoch"]["nll"] for recalibrate in (False, True)]
    assert nlls[0] != pytest.approx(nlls[1], rel=1e-4)
    assert "`training.recalibrate`" in cards.model_card(results[True])
    assert "`training.recalibrate`" not in cards.model_card(results[False])
    with pytest.raises(ValueError, match="no batch norm behind an attention"):
        experiments.train(
            small_config(model="vgg", recalibrate=True, settings={"width": 0.03}), tmp_path / "vgg"
        )
    assert not (tmp_path / "vgg").exists()
    frozen = small_config(recalibrate=True, settings=settings, freeze="backbone")
    message = "All batch norms behind the attention .* are frozen"
    with pytest.warns(UserWarning, match="random"), pytest.raises(ValueError, match=message):
        experiments.train(frozen, tmp_path / "frozen")
