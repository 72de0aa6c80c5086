"""The layers in anybody's functional model: compile, fit, and precision policies.

Most models here are a `TrackedModel`, which JAX needs to show the layers' metrics.
"""

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras.layers import AnchorQuantizer, IBAttention, VariationalEncoder
from aib_keras.models import TrackedModel

METRICS = ("kl_nats", "quantization_mse", "commitment_mse", "anchors_in_use")


def functional_model(model_class=TrackedModel):
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = IBAttention(quantizer=AnchorQuantizer(5))(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = VariationalEncoder(4, name="encoder")(x)
    outputs = keras.layers.Dense(3, dtype="float32")(x)
    return model_class(inputs, outputs)


def compiled(model, learning_rate=0.0):
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(learning_rate),
        cross_entropy,
        metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="ce")],
    )
    return model


def data(count=12):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 6, 6, 3)).astype("float32"), rng.integers(0, 3, count)


def eq10(logs, beta=0.01):
    terms = logs["ce"], beta * logs["kl_nats"]
    return sum(terms) + 0.4 * logs["quantization_mse"] + 0.1 * logs["commitment_mse"]


def test_fit_reports_every_term_and_the_loss_is_their_sum():
    history = compiled(functional_model()).fit(*data(), 4, epochs=2, verbose=0).history
    assert set(METRICS) <= set(history)
    for epoch in range(2):
        logs = {name: values[epoch] for name, values in history.items()}
        assert logs["loss"] == pytest.approx(eq10(logs), rel=1e-4)
        assert logs["kl_nats"] > 0
        assert 0 < logs["anchors_in_use"] <= 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has no float64 as it is")
def test_fit_in_float64():
    keras.config.set_floatx("float64")
    try:
        history = compiled(functional_model()).fit(*data(), 4, verbose=0).history
    finally:
        keras.config.set_floatx("float32")
    logs = {name: value for name, (value,) in history.items()}
    assert logs["loss"] == pytest.approx(eq10(logs), rel=1e-4)


def test_a_plain_keras_model_trains_alike():
    logs = []
    for model_class in (TrackedModel, keras.Model):
        keras.utils.set_random_seed(0)
        model = compiled(functional_model(model_class), learning_rate=0.1)
        logs.append(model.fit(*data(), 4, epochs=2, shuffle=False, verbose=0).history)
    tracked, plain = logs
    assert set(tracked) == set(plain)
    for name, values in tracked.items():
        if name in METRICS and keras.backend.backend() == "jax":
            assert np.isnan(plain[name]).all()
        else:
            np.testing.assert_allclose(plain[name], values, rtol=1e-5)


def test_validation_reports_them_too_and_evaluate_agrees():
    model = compiled(functional_model())
    history = model.fit(*data(), 4, validation_data=data(8), verbose=0).history
    logs = model.evaluate(*data(8), return_dict=True, verbose=0)
    for name in (*METRICS, "loss"):
        assert history[f"val_{name}"][0] == pytest.approx(logs[name], rel=1e-4)
    assert logs["loss"] == pytest.approx(eq10(logs), rel=1e-4)


def test_metrics_do_not_depend_on_the_batch_size_where_the_last_batch_is_smaller():
    model = compiled(functional_model())
    images, labels = data(12)
    # A last batch unlike the others, so that its weight shows.
    images[8:] *= 4
    whole = model.evaluate(images, labels, 12, return_dict=True, verbose=0)
    parts = model.evaluate(images, labels, 8, return_dict=True, verbose=0)
    for name in ("ce", "kl_nats", "quantization_mse", "commitment_mse"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-3), name


def test_training_reduces_the_loss_and_moves_the_anchors():
    model = compiled(functional_model(), learning_rate=0.1)
    quantizer = model.layers[2].quantizer
    before = ops.convert_to_numpy(quantizer.anchors)
    losses = model.fit(*data(), 6, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.any(ops.convert_to_numpy(quantizer.anchors) != before)


def test_a_callback_can_warm_beta_up():
    model = compiled(functional_model())
    encoder = model.get_layer("encoder")
    betas = [0.0, 0.5, 2.0]
    warm_up = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: encoder.beta.assign(betas[epoch])
    )
    history = model.fit(*data(), 4, epochs=3, callbacks=[warm_up], verbose=0).history
    for epoch, beta in enumerate(betas):
        logs = {name: values[epoch] for name, values in history.items()}
        assert logs["loss"] == pytest.approx(eq10(logs, beta), rel=1e-4)
    assert float(ops.convert_to_numpy(encoder.beta)) == 2.0


def test_a_functional_model_with_the_layers_is_saved_and_loaded(tmp_path):
    model, (images, _) = functional_model(), data()
    expected = ops.convert_to_numpy(model(images))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(images)), expected, rtol=1e-6)


def test_frozen_layers_are_frozen_in_a_file_too(tmp_path):
    model = functional_model()
    for layer in model.layers:
        if isinstance(layer, (IBAttention, VariationalEncoder)):
            layer.trainable = False
    expected = [variable.path for variable in model.trainable_variables]
    assert len(expected) == 4  # Those of the convolution and of the classifier.
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [variable.path for variable in loaded.trainable_variables] == expected


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_maps_and_losses_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    compute_dtype = policy.removeprefix("mixed_")
    features = data()[0]
    attention = IBAttention(quantizer=AnchorQuantizer(5))
    modulated, maps = attention(features, sample=True, return_attention=True)
    assert keras.backend.standardize_dtype(modulated.dtype) == compute_dtype
    encoder = VariationalEncoder(4)
    z, latent = encoder(ops.reshape(modulated, (12, -1)), return_distribution=True)
    for tensor in (z, *maps.values(), *latent.values(), *attention.losses, *encoder.losses):
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
    anchors = ops.convert_to_numpy(attention.quantizer.anchors)
    assert np.isin(ops.convert_to_numpy(maps["attention_quantized"]), anchors).all()


@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision_trains():
    model = compiled(functional_model(), learning_rate=0.01)
    history = model.fit(*data(), 4, epochs=2, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    logs = model.evaluate(*data(), return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(eq10(logs), rel=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_layers_of_another_dtype_keep_maps_and_losses_in_float32(dtype):
    features = data()[0].astype("float16")
    attention = IBAttention(quantizer=AnchorQuantizer(5, dtype=dtype), dtype=dtype)
    encoder = VariationalEncoder(4, dtype=dtype)
    modulated, maps = attention(features, sample=True, return_attention=True)
    z, latent = encoder(ops.reshape(modulated, (12, -1)), sample=True, return_distribution=True)
    expected = "float32" if dtype == "float64" and not _has_float64() else dtype
    assert keras.backend.standardize_dtype(modulated.dtype) == expected
    for tensor in (z, *maps.values(), *latent.values(), *attention.losses, *encoder.losses):
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
        assert np.isfinite(ops.convert_to_numpy(tensor)).all()


def _has_float64():
    # JAX turns float64 into float32 unless told otherwise.
    return keras.backend.standardize_dtype(ops.zeros((), "float64").dtype) == "float64"


def test_global_channels_first_does_not_turn_the_layers_round():
    keras.config.set_image_data_format("channels_first")
    layer = IBAttention(quantizer=AnchorQuantizer(5))
    assert layer(np.ones((2, 5, 4, 3), "float32")).shape == (2, 5, 4, 3)
    assert layer.head.kernel.shape == (3, 3, 3, 1)


@pytest.mark.parametrize("modulation", ["mask", "noise"])
def test_a_batch_of_no_images_has_no_loss(modulation):
    """A replica gets one where the last batch has fewer images than there are devices."""
    attention = IBAttention(quantizer=AnchorQuantizer(4), modulation=modulation, map_beta=0.1)
    encoder = VariationalEncoder(3, trunk=keras.layers.GlobalAveragePooling2D())
    encoder(attention(np.ones((2, 4, 4, 5), "float32")))
    z = encoder(attention(np.zeros((0, 4, 4, 5), "float32"), sample=True), sample=True)
    assert z.shape == (0, 3)
    for layer in (attention, encoder):
        losses = [float(keras.ops.convert_to_numpy(loss)) for loss in layer.losses]
        assert losses
        assert np.isfinite(losses).all()
