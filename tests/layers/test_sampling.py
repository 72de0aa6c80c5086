import keras
import numpy as np
import pytest
from backends import HIGHEST_SEED
from keras import ops

from aib_keras.layers import Dropout, GaussianSampler, IBAttention, VariationalEncoder


def draw(layer, *inputs, **kwargs):
    return ops.convert_to_numpy(layer(*inputs, **kwargs))


def test_sampler_draws_with_the_given_mean_and_std():
    mean = np.tile(np.array([[-3.0, 0.0, 10.0]], "float32"), (40_000, 1))
    std = np.tile(np.array([[0.0, 1.0, 4.0]], "float32"), (40_000, 1))
    draws = draw(GaussianSampler(seed=0), mean, std, sample=True)
    np.testing.assert_allclose(draws.mean(axis=0), mean[0], atol=5 * 4 / 200)
    np.testing.assert_allclose(draws.std(axis=0), std[0], rtol=0.02, atol=1e-6)


def test_sampler_without_sampling_gives_the_mean():
    mean, std = np.ones((2, 3), "float32"), np.ones((2, 3), "float32")
    np.testing.assert_array_equal(draw(GaussianSampler(), mean, std), mean)
    np.testing.assert_array_equal(
        draw(GaussianSampler(), mean, std, training=True, sample=False), mean
    )


def test_sampler_needs_one_shape():
    with pytest.raises(ValueError, match="of the same shape"):
        GaussianSampler()(np.ones((2, 3), "float32"), np.ones((2, 1), "float32"))


def test_sampler_gradients_reach_mean_and_std(gradients):
    layer = GaussianSampler(seed=0)
    mean, std = np.zeros((2, 3), "float32"), np.ones((2, 3), "float32")
    noise = draw(GaussianSampler(seed=0), mean, std, sample=True)
    of_mean, of_std = gradients(
        lambda mean, std: ops.sum(layer(mean, std, sample=True)), [mean, std]
    )
    np.testing.assert_allclose(of_mean, 1.0)
    np.testing.assert_allclose(of_std, noise, rtol=1e-6)


def test_dropout_drops_its_share_and_scales_the_rest():
    dropped = draw(Dropout(0.3, seed=0), np.ones((100, 400), "float32"), training=True)
    assert np.mean(dropped == 0) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(dropped[dropped != 0], 1 / 0.7, rtol=1e-5)


def test_dropout_only_trains():
    inputs = np.ones((4, 5), "float32")
    np.testing.assert_array_equal(draw(Dropout(0.9), inputs), inputs)
    np.testing.assert_array_equal(draw(Dropout(0.9), inputs, training=False), inputs)
    np.testing.assert_array_equal(draw(Dropout(0.0), inputs, training=True), inputs)


def test_dropout_passes_masks_on():
    words = np.array([[1, 2, 0], [1, 2, 2]])
    dropped = Dropout(0.5)(keras.layers.Embedding(5, 2, mask_zero=True)(words))
    np.testing.assert_array_equal(ops.convert_to_numpy(dropped._keras_mask), words != 0)


def test_dropout_repeats_with_the_seed_and_changes_from_call_to_call():
    inputs = np.ones((10, 10), "float32")
    first, again, other = Dropout(0.5, seed=1), Dropout(0.5, seed=1), Dropout(0.5, seed=2)
    draws = [draw(first, inputs, training=True) for _ in range(2)]
    np.testing.assert_array_equal(draws[0], draw(again, inputs, training=True))
    assert not np.array_equal(draws[0], draw(other, inputs, training=True))
    assert not np.array_equal(draws[0], draws[1])


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_dropout_rate_must_lie_between_0_and_1(rate):
    with pytest.raises(ValueError, match="rate"):
        Dropout(rate)


@pytest.mark.parametrize(
    "layer", [Dropout(0.3, seed=4, name="d"), GaussianSampler(seed=4, name="s")]
)
def test_config_round_trip(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


def noisy_model(kind, seed):
    inputs = keras.Input((4, 4, 3))
    if kind == "attention":
        outputs = IBAttention(seed=seed)(inputs)
    elif kind == "encoder":
        outputs = VariationalEncoder(4, seed=seed)(keras.layers.Flatten()(inputs))
    else:
        outputs = Dropout(0.5, seed=seed)(inputs)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(outputs))
    return keras.Model(inputs, outputs)


def noisy_inputs():
    return np.random.default_rng(0).standard_normal((6, 4, 4, 3)).astype("float32")


@pytest.mark.parametrize("kind", ["attention", "encoder", "dropout"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_saved_noise_goes_on_where_it_was(kind, suffix, tmp_path):
    model, inputs, path = noisy_model(kind, seed=1), noisy_inputs(), tmp_path / f"model{suffix}"
    for _ in range(2):
        draw(model, inputs, training=True)
    if suffix == ".keras":
        model.save(path)
        restored = keras.saving.load_model(path)
    else:
        model.save_weights(path)
        restored = noisy_model(kind, seed=2)
        restored.load_weights(path)
    for _ in range(2):
        expected = draw(model, inputs, training=True)
        np.testing.assert_allclose(draw(restored, inputs, training=True), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["attention", "encoder", "dropout"])
def test_interrupted_fit_goes_on_as_if_it_had_not_been(kind, tmp_path):
    inputs, labels = noisy_inputs(), np.array([0, 1, 0, 1, 0, 1])

    def fit(model, epochs):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        history = model.fit(inputs, labels, 2, epochs=epochs, shuffle=False, verbose=0)
        return history.history["loss"]

    whole = noisy_model(kind, seed=1)
    path = tmp_path / "start.keras"
    whole.save(path)
    interrupted = keras.saving.load_model(path)
    expected = fit(whole, epochs=3)
    first = fit(interrupted, epochs=1)
    interrupted.save_weights(tmp_path / "middle.weights.h5")
    resumed = noisy_model(kind, seed=2)
    resumed.load_weights(tmp_path / "middle.weights.h5")
    np.testing.assert_allclose(first + fit(resumed, epochs=2), expected, rtol=1e-5)


def test_weights_written_by_plain_keras_dropout_load_and_leave_the_noise(tmp_path):
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), keras.layers.Identity()])
    plain.save_weights(tmp_path / "plain.weights.h5")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), Dropout(0.5, seed=1)])
    before = ops.convert_to_numpy(model.layers[-1].seed_generator.state)
    model.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.layers[-1].seed_generator.state), before
    )
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], plain.get_weights()[0])


@pytest.mark.parametrize("make", [GaussianSampler, lambda seed: Dropout(0.5, seed=seed)])
@pytest.mark.parametrize("seed", [-1, HIGHEST_SEED + 1, 0.5, "0"])
def test_seeds_that_a_generator_does_not_take_are_refused(make, seed):
    with pytest.raises(ValueError, match="`seed` must be an integer in"):
        make(seed=seed)


def test_the_highest_seed_works():
    kept = draw(Dropout(0.5, seed=HIGHEST_SEED), ops.ones(1000), training=True)
    assert 0.4 < (kept > 0).mean() < 0.6
