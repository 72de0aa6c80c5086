"""What the equations of the baselines of Table 1 say, on narrow models."""

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras import layers, models, zoo

WIDTH = 0.0625


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")


def cross_entropy(logits, labels):
    logits = logits.astype("float64")
    return np.mean(np.logaddexp.reduce(logits, axis=-1) - logits[np.arange(len(labels)), labels])


def test_the_mean_of_a_class_activation_map_is_the_logit_without_its_bias(images):
    model = zoo.vgg_gap(width=WIDTH)
    bias = np.linspace(-1, 1, 10).astype("float32")
    model.head.bias.assign(bias)
    found = model.explain(images)
    predicted = found["logits"].argmax(axis=-1)
    expected = found["logits"].max(axis=-1) - bias[predicted]
    np.testing.assert_allclose(found["attention"].mean((1, 2, 3)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "count"), [("vgg_att2", 2), ("vgg_att3", 3)])
def test_compatibility_maps_are_distributions_over_positions(name, count, images):
    found = zoo.get(name)(width=WIDTH).explain(images)
    for index in range(1, count + 1):
        maps = found[f"attention_{index}"]
        assert maps.min() > 0
        np.testing.assert_allclose(maps.sum((1, 2, 3)), 1.0, rtol=1e-5)
    # The map at the place of IB attention, whatever its number.
    np.testing.assert_array_equal(found["attention"], found[f"attention_{count - 1}"])


@pytest.mark.parametrize("name", ["vgg_att2", "vgg_att3"])
def test_compatibility_maps_keep_their_digits_in_mixed_precision(name, images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    maps = zoo.get(name)(width=WIDTH).explain(images)["attention_1"]
    np.testing.assert_allclose(maps.sum((1, 2, 3)), 1.0, rtol=1e-5)


def test_a_uniform_compatibility_gives_the_mean_of_the_local_features(images):
    model = zoo.vgg_att2(width=WIDTH)
    backbone = model.backbone
    for index in (1, 2):
        layer = backbone.get_layer(f"compatibility{index}")
        layer.kernel.assign(ops.zeros_like(layer.kernel))
    # With that score every position weighs the same, so the classifier reads plain means.
    features = keras.Model(
        backbone.inputs,
        [backbone.get_layer(f"block{block}_pool").input for block in (2, 3)],
    )(model.preprocess(images))
    means = np.concatenate([ops.convert_to_numpy(f).mean((1, 2)) for f in features], axis=-1)
    dense = backbone.get_layer("logits")
    expected = means @ ops.convert_to_numpy(dense.kernel) + ops.convert_to_numpy(dense.bias)
    np.testing.assert_allclose(model.explain(images)["logits"], expected, rtol=1e-3, atol=1e-4)


def test_progressive_gates_and_weights(images):
    found = zoo.vgg_pan(width=WIDTH).explain(images)
    for name, side in (("attention_1", 16), ("attention_2", 8)):
        assert found[name].shape == (4, side, side, 1)
        assert 0 < found[name].min() < found[name].max() < 1
    assert found["attention_3"].shape == (4, 4, 4, 1)
    np.testing.assert_allclose(found["attention_3"].sum((1, 2, 3)), 1.0, rtol=1e-5)


def test_a_closed_gate_lets_nothing_pass(images):
    model = zoo.vgg_pan(width=WIDTH)
    score = model.backbone.get_layer("score1")
    score.kernel.assign(ops.zeros_like(score.kernel))
    score.bias.assign([-100.0])
    logits = model.explain(images)["logits"]
    np.testing.assert_allclose(logits, np.tile(logits[:1], (4, 1)), atol=1e-6)


@pytest.mark.slow
def test_the_attention_branch_trains_with_both_losses(images):
    model = zoo.wrn_abn(width=0.025, dropout=0.0)
    labels = np.array([1, 2, 3, 4])
    model.compile(
        keras.optimizers.SGD(0.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")],
    )
    found = model.explain(images)
    main = cross_entropy(found["logits"], labels)
    branch = cross_entropy(found["branch_logits"], labels)
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert logs["nll"] == pytest.approx(main, rel=1e-4)
    assert logs["loss"] == pytest.approx(main + branch, rel=1e-4)
    logs = model.fit(images, labels, verbose=0).history
    assert logs["loss"][0] > logs["nll"][0] + 0.1


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, logits: keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ],
    ids=["function", "object"],
)
def test_both_losses_can_be_those_of_a_function(images, loss):
    keras.utils.set_random_seed(0)
    model = zoo.wrn_abn(width=0.025, dropout=0.0)
    model.compile("sgd", loss)
    labels = np.array([1, 2, 3, 4])
    found = model.explain(images)
    expected = sum(cross_entropy(found[name], labels) for name in ("logits", "branch_logits"))
    assert model.evaluate(images, labels, verbose=0) == pytest.approx(expected, rel=1e-4)


def test_sample_weights_count_in_both_losses(images):
    model = zoo.wrn_abn(width=0.025, dropout=0.0)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels, weights = np.array([1, 2, 3, 4]), np.array([1.0, 0.0, 0.0, 1.0])
    found = model.explain(images)
    loss = model.evaluate(images, labels, sample_weight=weights, verbose=0)
    main, branch = (
        cross_entropy(found[name][[0, 3]], labels[[0, 3]]) for name in ("logits", "branch_logits")
    )
    # Keras divides by the number of images, those of weight 0 included.
    expected = (main + branch) / 2
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_variational_classifier_samples_its_latent_only(images):
    model = zoo.vgg_dvib(width=WIDTH, latent_dim=8)
    first, again = (model.predict_mc(images, samples=3, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first["logits"], again["logits"])
    assert np.all(first["probabilities_std"] > 0)
    # The mean of many predictions comes near the prediction of the mean: the noise is small.
    many = model.predict_mc(images, samples=200)["logits"]
    np.testing.assert_allclose(many, ops.convert_to_numpy(model(images)), atol=0.05)


def test_a_variational_classifier_may_resize_images():
    trunk = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    model = models.VariationalClassifier(
        layers.VariationalEncoder(4, trunk=trunk),
        keras.layers.Dense(3),
        preprocessing=keras.layers.Resizing(8, 8),
    )
    model.build((None, 16, 16, 3))
    assert model.explain(np.zeros((2, 16, 16, 3), "uint8"))["logits"].shape == (2, 3)


def test_the_variational_classifier_draws_while_training_and_charges_for_it(images):
    model = zoo.vgg_dvib(width=WIDTH, latent_dim=8)
    fixed = [ops.convert_to_numpy(model(images)) for _ in range(2)]
    drawn = [ops.convert_to_numpy(model(images, sample=True)) for _ in range(2)]
    np.testing.assert_array_equal(*fixed)
    assert np.abs(drawn[0] - drawn[1]).max() > 0
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logs = model.evaluate(images, np.arange(4), verbose=0, return_dict=True)
    expected = cross_entropy(fixed[0], np.arange(4)) + 0.01 * logs["kl_nats"]
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
