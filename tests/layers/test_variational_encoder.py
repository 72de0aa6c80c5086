import keras
import numpy as np
import pytest
from keras import ops

from aib_keras.layers import VariationalEncoder

LATENT_DIM = 3


def softplus(x):
    return np.logaddexp(0.0, x)


def log_softplus(x):
    return np.where(x < -30, x, np.log(softplus(np.maximum(x, -30.0))))


def closed_form_kl(raw):
    """KL to N(0, I) in float64 from the 2K outputs of the linear layer."""
    mean, raw_std = np.split(np.asarray(raw, "float64"), 2, axis=-1)
    raw_std = raw_std - 5.0
    terms = 0.5 * (mean**2 + softplus(raw_std) ** 2 - 1.0) - log_softplus(raw_std)
    return terms.sum(axis=-1)


def transparent_encoder(latent_dim=LATENT_DIM, **kwargs):
    """An encoder whose linear layer passes its 2K inputs on unchanged."""
    layer = VariationalEncoder(latent_dim, **kwargs)
    layer.build((None, 2 * latent_dim))
    layer.linear.set_weights([np.eye(2 * latent_dim), np.zeros(2 * latent_dim)])
    return layer


def raw_values(batch=4, latent_dim=LATENT_DIM, scale=2.0):
    raw = scale * np.random.default_rng(0).standard_normal((batch, 2 * latent_dim))
    return raw.astype("float32")


def total_loss(layer):
    return float(sum(ops.convert_to_numpy(loss) for loss in layer.losses))


def encode(layer, inputs, **kwargs):
    z, latent = layer(inputs, return_distribution=True, **kwargs)
    arrays = {name: ops.convert_to_numpy(value) for name, value in latent.items()}
    return ops.convert_to_numpy(z), arrays


def test_distribution_is_the_linear_layers_first_half_and_softplus_of_its_second_minus_5():
    raw = raw_values()
    z, latent = encode(transparent_encoder(), raw)
    np.testing.assert_allclose(latent["latent_mean"], raw[:, :LATENT_DIM], rtol=1e-6)
    expected_std = softplus(raw[:, LATENT_DIM:].astype("float64") - 5.0)
    np.testing.assert_allclose(latent["latent_std"], expected_std, rtol=1e-5)
    np.testing.assert_array_equal(z, latent["latent_mean"])


def test_kl_is_the_closed_form_per_image_and_its_mean_times_beta_is_the_loss(observed):
    layer, raw = transparent_encoder(beta=0.3), raw_values()
    _, latent = encode(layer, raw)
    expected = closed_form_kl(raw)
    np.testing.assert_allclose(latent["kl_nats"], expected, rtol=1e-5)
    assert total_loss(layer) == pytest.approx(0.3 * expected.mean(), rel=1e-5)
    assert observed(layer.kl_nats) == pytest.approx(expected.mean(), rel=1e-5)


def test_kl_is_the_mean_log_ratio_of_densities():
    raw = raw_values(batch=2) + np.array([0.0] * 3 + [5.0] * 3, "float32")
    _, latent = encode(transparent_encoder(), raw)
    mean, std = latent["latent_mean"][:, None], latent["latent_std"][:, None]
    eps = np.random.default_rng(1).standard_normal((2, 200_000, LATENT_DIM))
    z = mean + eps * std
    ratios = np.sum(-0.5 * eps**2 - np.log(std) + 0.5 * z**2, axis=-1)
    error = ratios.std(axis=1) / np.sqrt(ratios.shape[1])
    assert np.all(np.abs(ratios.mean(axis=1) - latent["kl_nats"]) < 5 * error)


def test_standard_normal_costs_nothing():
    # softplus(x - 5) is 1 at x = 5 + ln(e - 1).
    raw = np.array([[0.0] * LATENT_DIM + [5 + np.log(np.e - 1)] * LATENT_DIM], "float32")
    _, latent = encode(transparent_encoder(), raw)
    np.testing.assert_allclose(latent["kl_nats"], [0.0], atol=1e-5)


EXTREME_RAW_STDS = [-1e4, -500.0, -105.0, -90.0, -50.0, -11.0, -10.0, -9.0, 0.0, 5.0, 50.0, 1e3]


@pytest.mark.parametrize("raw_std", EXTREME_RAW_STDS)
def test_kl_and_its_gradient_are_finite_and_right_for_extreme_stds(raw_std, gradients):
    layer = transparent_encoder(latent_dim=1, beta=1.0)
    raw = np.array([[0.5, raw_std]], "float32")
    _, latent = encode(layer, raw)
    np.testing.assert_allclose(latent["kl_nats"], closed_form_kl(raw), rtol=1e-5)

    def loss(raw):
        layer(raw)
        return sum(layer.losses)

    (gradient,) = gradients(loss, [raw])
    step = 1e-3
    shifted = [closed_form_kl(raw.astype("float64") + [[0, side * step]]) for side in (1, -1)]
    expected = (shifted[0] - shifted[1]) / (2 * step)
    np.testing.assert_allclose(gradient, [[0.5, expected[0]]], rtol=1e-3, atol=1e-4)


def test_gradient_of_the_loss_matches_finite_differences(gradients):
    layer, raw = transparent_encoder(beta=0.7), raw_values()

    def loss(raw):
        layer(raw)
        return sum(layer.losses)

    (gradient,) = gradients(loss, [raw])
    step, expected = 1e-4, np.zeros(raw.shape)
    for position in np.ndindex(raw.shape):
        nudge = np.zeros(raw.shape)
        nudge[position] = step
        difference = closed_form_kl(raw + nudge).mean() - closed_form_kl(raw - nudge).mean()
        expected[position] = 0.7 * difference / (2 * step)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


def test_a_new_layer_charges_four_and_a_half_nats_a_dimension_and_the_authors_almost_nothing():
    raw = np.zeros((1, 2 * LATENT_DIM), "float32")
    for kl_scale, nats in (("std", 4.51), ("exp_std", 4.5e-5)):
        layer = transparent_encoder(beta=1.0, kl_scale=kl_scale)
        layer(raw)
        assert total_loss(layer) / LATENT_DIM == pytest.approx(nats, rel=0.02)


def test_exp_std_charges_for_exp_of_the_std_and_still_reports_what_is_drawn(observed):
    layer, raw = transparent_encoder(beta=0.5, kl_scale="exp_std"), raw_values()
    _, latent = encode(layer, raw)
    mean, std = latent["latent_mean"].astype("float64"), latent["latent_std"].astype("float64")
    charged = np.sum(0.5 * (mean**2 + np.exp(2 * std) - 1) - std, axis=-1).mean()
    assert total_loss(layer) == pytest.approx(0.5 * charged, rel=1e-4)
    np.testing.assert_allclose(latent["kl_nats"], closed_form_kl(raw), rtol=1e-5)
    assert observed(layer.kl_nats) == pytest.approx(closed_form_kl(raw).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("training", "sample", "drawn"),
    [
        (None, None, False),
        (False, None, False),
        (True, None, True),
        (True, False, False),
        (False, True, True),
        (None, True, True),
        (True, True, True),
    ],
)
def test_when_z_is_drawn(training, sample, drawn):
    layer, raw = transparent_encoder(), raw_values()
    z, latent = encode(layer, raw, training=training, sample=sample)
    assert np.array_equal(z, latent["latent_mean"]) != drawn


def test_draws_have_the_mean_and_the_std_of_the_distribution():
    raw = np.tile(np.array([[1.0, -2.0, 0.0, 3.0, 5.0, 7.0]], "float32"), (40_000, 1))
    z, latent = encode(transparent_encoder(seed=1), raw, sample=True)
    mean, std = latent["latent_mean"][0], latent["latent_std"][0]
    assert np.all(np.abs(z.mean(axis=0) - mean) < 5 * std / np.sqrt(len(z)))
    np.testing.assert_allclose(z.std(axis=0), std, rtol=0.02)


def test_noise_repeats_with_the_seed_and_changes_from_call_to_call():
    raw = raw_values()
    draws = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        layer = transparent_encoder(seed=seed)
        draws[name] = [encode(layer, raw, sample=True)[0] for _ in range(2)]
    np.testing.assert_array_equal(draws["first"], draws["again"])
    assert not np.allclose(draws["first"][0], draws["other"][0])
    assert not np.allclose(draws["first"][0], draws["first"][1])


def test_gradient_through_a_draw_reaches_mean_and_std(gradients):
    layer = transparent_encoder()
    (gradient,) = gradients(lambda raw: ops.sum(layer(raw, sample=True)), [raw_values()])
    np.testing.assert_allclose(gradient[:, :LATENT_DIM], 1.0, rtol=1e-6)
    assert np.all(gradient[:, LATENT_DIM:] != 0)


def test_beta_is_a_saved_variable_outside_training_that_changes_the_loss(tmp_path):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, VariationalEncoder(LATENT_DIM, beta=0.01)(inputs))
    layer, raw = model.layers[-1], raw_values()
    model(raw)
    before = total_loss(layer)
    layer.beta.assign(0.05)
    model(raw)
    assert total_loss(layer) == pytest.approx(5 * before, rel=1e-5)
    assert not any(variable is layer.beta for variable in layer.trainable_variables)

    model.save_weights(tmp_path / "model.weights.h5")
    other = keras.Model(inputs, VariationalEncoder(LATENT_DIM, beta=0.01)(inputs))
    other.load_weights(tmp_path / "model.weights.h5")
    assert float(ops.convert_to_numpy(other.layers[-1].beta)) == pytest.approx(0.05)


def test_trunk_comes_first_and_is_told_whether_the_model_trains():
    trunk = keras.Sequential([keras.Input((2, 3)), keras.layers.Flatten()])
    trunk.add(keras.layers.BatchNormalization())
    layer = VariationalEncoder(LATENT_DIM, trunk=trunk)
    inputs = 3 + np.random.default_rng(0).standard_normal((5, 2, 3)).astype("float32")
    moving_mean = trunk.layers[-1].moving_mean
    assert layer(inputs).shape == (5, LATENT_DIM)
    np.testing.assert_array_equal(ops.convert_to_numpy(moving_mean), 0.0)
    layer(inputs, training=True)
    assert np.all(ops.convert_to_numpy(moving_mean) > 0)


def test_symbolic_outputs_have_shapes_and_dtypes():
    z, latent = VariationalEncoder(LATENT_DIM)(keras.Input((7,)), return_distribution=True)
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in latent.items()}
    assert (z.shape, z.dtype) == ((None, LATENT_DIM), "float32")
    assert shapes == {
        "latent_mean": ((None, LATENT_DIM), "float32"),
        "latent_std": ((None, LATENT_DIM), "float32"),
        "kl_nats": ((None,), "float32"),
    }


def test_config_round_trip():
    trunk = keras.Sequential([keras.Input((2, 3)), keras.layers.Flatten()], name="trunk")
    layer = VariationalEncoder(
        LATENT_DIM,
        beta=0.2,
        kl_scale="exp_std",
        trunk=trunk,
        seed=7,
        kernel_initializer="he_normal",
        name="encoder",
    )
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config() == layer.get_config()
    inputs = np.random.default_rng(0).standard_normal((5, 2, 3)).astype("float32")
    layer(inputs), copy(inputs)
    copy.set_weights(layer.get_weights())
    draws = [ops.convert_to_numpy(part(inputs, sample=True)) for part in (layer, copy)]
    np.testing.assert_allclose(*draws, rtol=1e-6)


@pytest.mark.parametrize("latent_dim", [0, -1, 2.5, True, "3", None])
def test_latent_dim_must_be_a_positive_integer(latent_dim):
    with pytest.raises(ValueError, match="latent_dim"):
        VariationalEncoder(latent_dim)


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf"), "0.1", None])
def test_beta_must_be_a_non_negative_number(beta):
    with pytest.raises(ValueError, match="beta"):
        VariationalEncoder(2, beta=beta)


def test_unknown_kl_scale_lists_the_known_ones():
    with pytest.raises(ValueError, match="(?s)'std'.*'exp_std'.*'bits'"):
        VariationalEncoder(2, kl_scale="bits")


def test_inputs_of_another_rank_or_of_unknown_size_are_errors():
    with pytest.raises(ValueError, match="batch, features"):
        VariationalEncoder(2)(np.zeros((2, 3, 4), "float32"))
    with pytest.raises(ValueError, match="last axis"):
        VariationalEncoder(2)(keras.Input((None,)))


@pytest.mark.parametrize("symbolic", [False, True])
def test_integer_inputs_are_an_error(symbolic):
    inputs = keras.Input((3,), dtype="int32") if symbolic else np.zeros((2, 3), "int32")
    with pytest.raises(TypeError, match="floating"):
        VariationalEncoder(2)(inputs)
