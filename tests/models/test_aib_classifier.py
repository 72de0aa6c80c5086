"""AIBClassifier of parts of one's own: calls, training, saving, precision."""

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras.models import AIBClassifier, TrackedModel


def logits(model, images, **kwargs):
    return ops.convert_to_numpy(model(images, **kwargs))


def compiled(model, learning_rate=0.0):
    # TensorFlow traces the step of a model that is not built twice.
    model.build((None, 8, 8, 3))
    model.compile(
        keras.optimizers.SGD(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="ce")],
    )
    return model


def labels(images):
    return np.arange(len(images)) % 3


def test_a_call_is_deterministic_and_gives_float32_logits(make_classifier, images):
    model = make_classifier()
    outputs = model(images)
    assert outputs.shape == (5, 3)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    np.testing.assert_array_equal(logits(model, images), ops.convert_to_numpy(outputs))


def test_sample_overrides_training(make_classifier, images):
    model = make_classifier(batch_norm=False)
    deterministic = logits(model, images)
    np.testing.assert_allclose(
        logits(model, images, training=True, sample=False), deterministic, rtol=1e-6
    )
    for arguments in ({"training": True}, {"sample": True}, {"training": False, "sample": True}):
        first, second = (logits(model, images, **arguments) for _ in range(2))
        assert not np.allclose(first, deterministic)
        assert not np.allclose(first, second)


def test_training_without_sampling_still_uses_batch_statistics(make_classifier, images):
    model = make_classifier()
    before = logits(model, images)
    assert not np.allclose(logits(model, images, training=True, sample=False), before)
    assert not np.allclose(logits(model, images), before)


def test_stochastic_false_trains_without_noise_unless_asked(make_classifier, images):
    model = make_classifier(batch_norm=False, stochastic=False)
    deterministic = logits(model, images)
    np.testing.assert_allclose(logits(model, images, training=True), deterministic, rtol=1e-6)
    assert not np.allclose(logits(model, images, training=True, sample=True), deterministic)
    copy = type(model).from_config(model.get_config())
    assert copy.stochastic is False


def test_the_parts_are_fig_2(make_classifier, images):
    model = make_classifier()
    features = model.feature_extractor(model.preprocessing(images))
    z = model.encoder(model.attention(features))
    expected = ops.convert_to_numpy(model.decoder(z))
    np.testing.assert_allclose(logits(model, images), expected, rtol=1e-5, atol=1e-6)


def test_uint8_and_float_images_give_the_same(make_classifier, images):
    model = make_classifier()
    expected = logits(model, images)
    for dtype in ("float32", "float64"):
        np.testing.assert_allclose(logits(model, images.astype(dtype)), expected, rtol=1e-6)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_preprocessing_may_resize(make_classifier, images, tmp_path):
    model = make_classifier()
    resizing = keras.Sequential(
        [keras.layers.Resizing(8, 8), keras.layers.Rescaling(1 / 127.5, -1)]
    )
    larger = AIBClassifier(
        model.feature_extractor,
        model.attention,
        model.encoder,
        model.decoder,
        preprocessing=resizing,
    )
    larger.build((None, 16, 16, 3))
    larger.save(tmp_path / "model.keras")
    enlarged = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    for each in (larger, keras.saving.load_model(tmp_path / "model.keras")):
        found = each.explain(enlarged)["logits"]
        np.testing.assert_allclose(found, model.explain(images)["logits"], atol=1e-5)


def test_fit_evaluate_and_predict(make_classifier, images):
    model = compiled(make_classifier())
    history = model.fit(images, labels(images), epochs=1, verbose=0).history
    logs = model.evaluate(images, labels(images), return_dict=True, verbose=0)
    for found in ({name: values[0] for name, values in history.items()}, logs):
        expected = found["ce"] + 0.01 * found["kl_nats"]
        expected += 0.4 * found["quantization_mse"] + 0.1 * found["commitment_mse"]
        assert found["loss"] == pytest.approx(expected, rel=1e-4)
    outputs = model.predict(images, verbose=0)
    assert outputs.shape == (5, 3)
    np.testing.assert_allclose(outputs, logits(model, images), rtol=1e-5, atol=1e-6)


def test_evaluate_agrees_with_explain_for_any_batch_size(make_classifier, images):
    model = compiled(make_classifier())
    # One image unlike the others, so that a wrong weight of the last batch shows.
    images[-1] = 255
    expected = model.explain(images)["kl_nats"].mean()
    for batch_size in (5, 4, 2):
        logs = model.evaluate(images, labels(images), batch_size, return_dict=True, verbose=0)
        assert logs["kl_nats"] == pytest.approx(expected, rel=1e-4), batch_size


def test_training_learns(make_classifier, images):
    model = compiled(make_classifier(), learning_rate=0.1)
    losses = model.fit(images, labels(images), epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.isfinite(losses).all()


def test_summary_lists_the_parts(make_classifier, images):
    model, lines = make_classifier(), []
    model(images)
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for name in ("extractor", "ib_attention", "variational_encoder", "dense"):
        assert name in text
    assert f"{model.count_params():,}" in text


@pytest.mark.parametrize("trained", [False, True])
def test_saved_model_loads_without_custom_objects(make_classifier, images, tmp_path, trained):
    model = make_classifier()
    model(images)
    if trained:
        compiled(model, learning_rate=0.01).fit(images, labels(images), verbose=0)
    expected = model.explain(images)
    model.predict_mc(images, samples=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found = loaded.explain(images)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits(loaded, images), expected["logits"], rtol=1e-5, atol=1e-6)
    if trained:
        assert np.isfinite(loaded.fit(images, labels(images), verbose=0).history["loss"][0])


@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision_gives_float32_logits_and_trains(make_classifier, images):
    model = compiled(make_classifier(), learning_rate=0.01)
    for array in (logits(model, images), model.predict(images, verbose=0)):
        assert array.dtype == "float32"
    for name, array in model.explain(images).items():
        assert array.dtype == "float32", name
    assert model.predict_mc(images, samples=2)["logits"].dtype == "float32"
    history = model.fit(images, labels(images), epochs=2, verbose=0).history
    assert np.isfinite(list(history.values())).all()


def test_beta_can_be_set_through_the_model(make_classifier, images):
    model = compiled(make_classifier())
    model.evaluate(images, labels(images), verbose=0)
    model.encoder.beta = 1.0
    logs = model.evaluate(images, labels(images), return_dict=True, verbose=0)
    quantizer = 0.5 * logs["quantization_mse"]
    assert logs["loss"] == pytest.approx(logs["ce"] + logs["kl_nats"] + quantizer, rel=1e-4)


def test_a_functional_tracked_model_leaves_the_classifiers_as_they_are(make_classifier, images):
    inputs = keras.Input((3,))
    TrackedModel(inputs, keras.layers.Dense(2)(inputs))
    assert make_classifier()(images).shape == (5, 3)


def test_a_functional_tracked_model_leaves_subclasses_as_they_are(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Mine(TrackedModel):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs)

    before = Mine()
    before(np.zeros((1, 3)))
    inputs = keras.Input((3,))
    functional = TrackedModel(inputs=inputs, outputs=keras.layers.Dense(2)(inputs))
    assert isinstance(functional, TrackedModel)
    assert Mine()(np.zeros((1, 3))).shape == (1, 2)
    for model in (before, functional):
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert isinstance(loaded, TrackedModel)
        found, expected = (each(np.ones((1, 3))) for each in (loaded, model))
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (found, expected)))
