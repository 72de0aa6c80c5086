"""The price of a map, and features that are replaced by noise where attention is low."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import integrate, stats

from aib_keras.layers import AnchorQuantizer, IBAttention
from aib_keras.models import TrackedModel
from aib_keras.training import BetaWarmup

SHAPE = (3, 5, 4, 6)


def features(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(2.0, 3.0, shape).astype("float32")


def noise_layer(**settings):
    """A layer whose statistics are not at their initial values."""
    layer = IBAttention(modulation="noise", seed=0, **settings)
    layer.build(SHAPE)
    rng = np.random.default_rng(1)
    layer.noise_mean.assign(rng.normal(size=SHAPE[-1]))
    layer.noise_variance.assign(rng.uniform(0.5, 2.0, SHAPE[-1]))
    return layer


def attend(layer, inputs, **kwargs):
    modulated, maps = layer(inputs, return_attention=True, **kwargs)
    return ops.convert_to_numpy(modulated), {k: ops.convert_to_numpy(v) for k, v in maps.items()}


@pytest.mark.parametrize("modulation", ["residual", "mask"])
@pytest.mark.parametrize("quantizer", [None, 5])
def test_a_price_is_the_mean_square_of_the_map_that_is_used(modulation, quantizer):
    anchors = None if quantizer is None else AnchorQuantizer(quantizer, 0.0, 0.0)
    layer = IBAttention(quantizer=anchors, modulation=modulation, map_beta=0.3)
    _, maps = attend(layer, features(), sample=True)
    used = maps["attention" if quantizer is None else "attention_quantized"]
    assert float(sum(layer.losses)) == pytest.approx(0.3 * np.mean(used**2), rel=1e-5)


def test_without_a_price_there_is_no_loss_and_no_new_weight():
    layer = IBAttention(modulation="mask")
    layer(features())
    assert not layer.losses
    names = {weight.path.split("/")[-1] for weight in layer.weights}
    assert names <= {"kernel", "bias", "seed_generator_state"}


def test_the_information_is_the_kl_divergence_of_what_passes_from_the_noise():
    layer, inputs = noise_layer(), features()
    _, maps = attend(layer, inputs)
    mean, scale = map(ops.convert_to_numpy, (layer.noise_mean, layer.noise_variance))
    scale = np.sqrt(scale + 1e-5)
    for position in ((0, 0, 0), (2, 4, 3)):
        share = maps["attention"][position][0]
        total = 0.0
        for channel in range(SHAPE[-1]):
            value = inputs[position][channel]
            passes = stats.norm(
                share * value + (1 - share) * mean[channel], (1 - share) * scale[channel]
            )
            noise = stats.norm(mean[channel], scale[channel])

            def difference(x, p=passes, q=noise):
                return p.pdf(x) * (p.logpdf(x) - q.logpdf(x))

            center, width = passes.mean(), 12 * passes.std()
            total += integrate.quad(difference, center - width, center + width)[0]
        assert maps["attention_nats"][position][0] == pytest.approx(total, rel=1e-3)


def test_noise_replaces_what_does_not_pass():
    layer, inputs = noise_layer(), features(shape=(200, 5, 4, 6))
    modulated, maps = attend(layer, inputs)
    mean, variance = map(ops.convert_to_numpy, (layer.noise_mean, layer.noise_variance))
    share = np.minimum(maps["attention"], 0.999)
    np.testing.assert_allclose(modulated, share * inputs + (1 - share) * mean, rtol=1e-4, atol=1e-4)
    # The map is drawn, too: what is left after it has the variance of the noise.
    drawn, maps = attend(layer, inputs, sample=True)
    share = np.clip(maps["attention"], 0, 0.999)
    noise = (drawn - share * inputs) / (1 - share)
    np.testing.assert_allclose(noise.mean((0, 1, 2)), mean, atol=0.1)
    np.testing.assert_allclose(noise.var((0, 1, 2)), variance, rtol=0.1)


def test_the_noise_follows_the_features_in_training_only():
    layer, inputs = noise_layer(), features()
    before = ops.convert_to_numpy(layer.noise_mean)
    layer(inputs)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.noise_mean), before)
    for _ in range(80):
        layer(inputs, training=True)
    found = map(ops.convert_to_numpy, (layer.noise_mean, layer.noise_variance))
    for statistic, expected in zip(found, (inputs.mean, inputs.var), strict=True):
        np.testing.assert_allclose(statistic, expected((0, 1, 2)), rtol=1e-2)


def test_the_price_of_noise_is_its_mean_information():
    layer = noise_layer(map_beta=0.2)
    _, maps = attend(layer, features())
    expected = 0.2 * maps["attention_nats"].mean() / SHAPE[-1]
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-5)


def test_a_number_can_be_assigned_to_the_price():
    layer = noise_layer(map_beta=0.2)
    layer.map_beta = 0.4
    _, maps = attend(layer, features())
    expected = 0.4 * maps["attention_nats"].mean() / SHAPE[-1]
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-5)
    assert layer.get_config()["map_beta"] == 0.4
    with pytest.raises(ValueError, match="has no price of its map"):
        noise_layer(map_beta=0.0).map_beta = 0.4


@pytest.mark.parametrize("bias", [0.1, 5.0])
def test_the_price_lowers_a_map_at_its_top_anchor(bias, gradients):
    layer = noise_layer(map_beta=0.2, quantizer=AnchorQuantizer(2, 0.0, 0.0))
    layer.head.bias.assign([bias])
    layer.head.kernel.assign(0 * layer.head.kernel)
    _, maps = attend(layer, features())

    def price():
        layer(features())
        return sum(layer.losses)

    (found,) = gradients(price, (), [layer.head.bias])
    assert (maps["attention_quantized"] == 1).all()
    assert float(found[0]) > 0


def test_a_map_of_ones_has_finite_information():
    layer = noise_layer(map_beta=0.2)
    layer.head.bias.assign([100.0])
    modulated, maps = attend(layer, features(), training=True)
    assert np.isfinite(maps["attention_nats"]).all()
    assert np.isfinite(modulated).all()


def test_the_price_reaches_the_head(gradients):
    for modulation in ("mask", "noise"):
        layer = IBAttention(modulation=modulation, map_beta=1.0)
        layer.build(SHAPE)

        def price(inputs, layer=layer):
            layer(inputs)
            return sum(layer.losses)

        _, gradient = gradients(price, [features()], [layer.head.kernel])
        assert np.abs(gradient).max() > 1e-6


def test_fit_shows_what_passes_and_the_warm_up_raises_the_price():
    inputs = keras.Input((8, 8, 3))
    x = IBAttention(modulation="mask", map_beta=0.5)(inputs)
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    model = TrackedModel(inputs, outputs)
    attention = model.layers[1]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weights = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(float(ops.convert_to_numpy(attention.map_beta)))

    history = model.fit(
        features(shape=(8, 8, 8, 3)),
        np.arange(8) % 2,
        epochs=3,
        verbose=0,
        callbacks=[BetaWarmup(3, start=0.0, end=0.5), Watch()],
    )
    np.testing.assert_allclose(weights, [0.0, 1 / 3, 0.5], rtol=1e-5)
    assert all(0 < value < 1 for value in history.history["map_energy"])


@pytest.mark.parametrize("modulation", ["mask", "noise"])
def test_config_and_weights_round_trip(modulation, tmp_path):
    inputs = keras.Input(SHAPE[1:])
    layer = IBAttention(modulation=modulation, map_beta=0.2)
    model = keras.Model(inputs, layer(inputs))
    model(features(), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].get_config()["map_beta"] == 0.2
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(each(features())) for each in (model, loaded)), rtol=1e-5
    )


def test_a_negative_price_is_an_error():
    with pytest.raises(ValueError, match="map_beta"):
        IBAttention(map_beta=-1.0)
