"""Attacks on models for which the strongest change is known, and what holds for all models."""

import functools

import keras
import numpy as np
import pytest
from keras import layers
from scipy import special
from small import small_classifier

from aib_keras import explain, zoo
from aib_keras.explain import attacks
from aib_keras.models import PlainClassifier

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 1])


def linear(softmax=False):
    """A model of two classes, and the difference of the weights of class 1 and class 0."""
    inputs = keras.Input((4, 4, 3))
    dense = layers.Dense(2, activation="softmax" if softmax else None)
    model = keras.Model(inputs, dense(layers.Flatten()(inputs)))
    # A probability of 1 would have no gradient. A logit always has one.
    dense.set_weights([RNG.normal(0, 1e-3 if softmax else 1.0, (48, 2)), np.zeros(2)])
    weights = dense.get_weights()[0]
    return model, (weights[:, 1] - weights[:, 0]).reshape(4, 4, 3)


def images(low=50, high=200, side=4):
    return RNG.integers(low, high, (3, side, side, 3)).astype("uint8")


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("attack", [explain.fgsm, explain.pgd])
def test_the_best_attack_on_a_linear_model_is_found_exactly(attack, softmax):
    model, difference = linear(softmax)
    batch = images()
    towards_the_other = np.sign(difference) * np.where(LABELS == 0, 1, -1)[:, None, None, None]
    found = attack(model, batch, LABELS, 4, batch_size=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, batch + 4 * towards_the_other, atol=1e-4)


@pytest.mark.parametrize("attack", [explain.fgsm, explain.pgd])
def test_the_loss_of_a_linear_model_grows_as_the_norm_of_its_weights_says(attack):
    network, difference = linear()
    model = PlainClassifier(network)
    batch = images()

    def margin(batch):
        first, second = keras.ops.convert_to_numpy(model(batch)).T
        return (second - first) * np.where(LABELS == 0, 1, -1)

    found = margin(attack(model, batch, LABELS, 8)) - margin(batch)
    np.testing.assert_allclose(found, 8 * np.abs(difference).sum(), rtol=1e-4)


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("attack", [explain.fgsm, functools.partial(explain.pgd, steps=2)])
def test_changes_stay_within_epsilon_and_the_range_of_pixels(attack, samples):
    model = small_classifier()
    batch = np.concatenate([images(0, 3, 32), images(253, 256, 32)])
    labels = np.concatenate([LABELS, LABELS])
    found = attack(model, batch, labels, 2.5, samples=samples)
    assert found.shape == batch.shape
    assert found.min() >= 0
    assert found.max() <= 255
    assert np.abs(found - batch).max() == 2.5
    np.testing.assert_array_equal(found, attack(model, batch, labels, 2.5, samples=samples))
    np.testing.assert_array_equal(attack(model, batch, labels, 0, samples=samples), batch)


def test_more_steps_raise_the_loss_of_a_network_further():
    keras.utils.set_random_seed(0)
    model = small_classifier()
    batch, labels = images(0, 256, 32), LABELS

    def loss(batch):
        logits = model.explain(batch)["logits"]
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)

    before, once, often = (
        float(loss(each))
        for each in (
            batch,
            explain.fgsm(model, batch, labels, 8),
            explain.pgd(model, batch, labels, 8, steps=6),
        )
    )
    assert before < once < often


def test_an_attack_through_samples_follows_their_mean_gradient():
    # A quantised map passes its gradient straight through: no difference quotient is like it.
    model = small_classifier(quantized=False)
    batch = images(0, 256, 32).astype("float32")
    attack = attacks._LossGradient(model, 2)
    attack.seed_generator.state.assign([5, 0])
    found = attack.predict([batch, LABELS], verbose=0)

    def loss(batch):
        seed = keras.random.SeedGenerator(0)
        seed.state.assign([5, 0])
        logits = model.sampled_logits(batch, 2, seed)
        assert logits.shape == (4, 3, 10)
        losses = [
            keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")(LABELS, each)
            for each in logits
        ]
        return np.mean([float(each) for each in losses])

    seed = keras.random.SeedGenerator(0)
    seed.state.assign([5, 0])
    drawn = keras.ops.convert_to_numpy(model.sampled_logits(batch, 2, seed))
    probabilities = special.softmax(drawn, axis=-1)
    # By which the gradient of the cross-entropy is smaller.
    factor = (1 - probabilities[:, np.arange(3), LABELS]).mean(axis=0)[:, None, None, None]
    # Small, because the slope bends at each ReLU.
    step = found / np.abs(found).max() / 4
    change = (loss(batch + step) - loss(batch - step)) / 2
    assert change == pytest.approx((factor * found * step).sum(), rel=0.02)

    seeds = [explain.fgsm(model, batch, LABELS, 1, samples=1, seed=seed) for seed in (0, 1)]
    assert (seeds[0] != seeds[1]).any()


def test_the_noise_of_training_is_not_touched():
    model = small_classifier()
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    before = [keras.ops.convert_to_numpy(state) for state in states]
    explain.pgd(model, images(0, 256, 32), LABELS, 4, steps=2, samples=2)
    for state, value in zip(states, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(state), value)
    assert states


def test_images_in_another_range_have_other_bounds():
    model, difference = linear()
    batch = images() / 255
    found = explain.fgsm(model, batch, LABELS * 0, 1.0, bounds=(0, 1))
    np.testing.assert_array_equal(found, np.broadcast_to(difference > 0, found.shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0, 1]}, "`labels` must be an integer or 3 integers"),
        ({"labels": [0, 1, 2]}, "`labels` must be .* below 2"),
        ({"epsilon": -1}, "`epsilon` must be a finite number of at least 0"),
        ({"samples": 1}, "`samples` must be 0 for .* no distributions"),
        ({"bounds": (0, 1)}, r"`images` must be in `bounds` \[0, 1\], and they are in \[\d+, \d+"),
        ({"bounds": 255}, r"`bounds` must be a pair \(lowest, highest\), got 255"),
        ({"images": images()[0]}, "takes images of shape"),
        ({"steps": 0}, "`steps` must be an integer of at least 1"),
        ({"step_size": 0}, "`step_size` must be a finite positive number"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    model, _ = linear()
    defaults = {"model": model, "images": images(), "labels": LABELS, "epsilon": 1}
    with pytest.raises(ValueError, match=message):
        explain.pgd(**{**defaults, **arguments})


def test_a_model_without_a_bottleneck_takes_no_samples():
    model = zoo.vgg(width=0.03)
    with pytest.raises(ValueError, match="no distributions to draw from, got 4"):
        explain.fgsm(model, images(0, 256, 32), LABELS, 1, samples=4)
