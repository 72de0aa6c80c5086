"""Saliency maps of Keras models that are not ours: nested, Sequential, ending in a softmax."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from aib_keras import explain, metrics

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 32, 32, 3)).astype("float32")
APPLICATIONS = {
    "MobileNetV3Small": (),
    **dict.fromkeys(("ResNet50V2", "EfficientNetV2B0", "ConvNeXtTiny"), pytest.mark.slow),
}


def small_classifier(kind):
    """One network of 4 classes in several forms, and what turns its outputs into logits."""
    keras.utils.set_random_seed(0)
    features = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="first"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="last"),
        ]
    )
    inputs = keras.Input((32, 32, 3))
    head = [layers.GlobalAveragePooling2D(), layers.Dense(4, name="classes")]
    if kind == "logits":
        return keras.Sequential([inputs, *features.layers, *head])
    if kind == "nested":
        return keras.Model(inputs, head[1](head[0](features(inputs))))
    if kind == "softmax":
        head[1] = layers.Dense(4, "softmax", name="classes")
        return keras.Sequential([inputs, *features.layers, *head])
    if kind == "softmax layer":
        return keras.Sequential([inputs, *features.layers, *head, layers.Softmax()])
    inner = keras.Sequential([keras.Input((7, 7, 8)), *head, layers.Softmax()])
    return keras.Model(inputs, inner(features(inputs)))


KINDS = ["logits", "nested", "softmax", "softmax layer", "softmax in a nested model"]


@pytest.fixture(scope="module")
def same_weights():
    """The models of all kinds, with the same weights."""
    models = {kind: small_classifier(kind) for kind in KINDS}
    weights = models["logits"].get_weights()
    for model in models.values():
        model.set_weights(weights)
    return models


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(
    "saliency",
    [
        explain.grad_cam,
        pytest.param(explain.grad_cam_plus_plus, marks=pytest.mark.slow),
        explain.gradient_map,
    ],
)
def test_the_form_of_a_model_does_not_matter(kind, saliency, same_weights):
    for class_index in (None, 2, [0, 1, 3]):
        found, expected = (
            saliency(same_weights[each], IMAGES, class_index=class_index)
            for each in (kind, "logits")
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert expected.any()


def test_a_model_is_as_it_was_afterwards(same_weights):
    for model in same_weights.values():
        before = model.predict(IMAGES, verbose=0)
        explain.grad_cam(model, IMAGES)
        np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), before)


def last_features(model):
    outputs = IMAGES
    for layer in model.layers:
        outputs = layer(outputs)
        if layer.name == "last":
            return ops.convert_to_numpy(outputs)
    raise AssertionError("no layer `last`")


def test_grad_cam_before_global_pooling_is_the_class_activation_map(same_weights):
    model = same_weights["softmax"]
    features = last_features(model)
    weights = ops.convert_to_numpy(model.get_layer("classes").kernel)
    for index in range(4):
        expected = np.maximum(features @ weights[:, index], 0)[..., None] / 49
        found = explain.grad_cam(model, IMAGES, class_index=index)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_grad_cam_plus_plus_is_equation_19(same_weights):
    model = same_weights["logits"]
    features = last_features(model).astype("float64")
    # Behind global average pooling the gradient is the same at each position.
    gradient = ops.convert_to_numpy(model.get_layer("classes").kernel)[:, 1] / 49
    total = features.sum((1, 2), keepdims=True)
    shares = gradient**2 / (2 * gradient**2 + total * gradient**3)
    weights = (shares * np.maximum(gradient, 0) * np.ones((7, 7, 1))).sum((1, 2), keepdims=True)
    expected = np.maximum((features * weights).sum(-1, keepdims=True), 0)
    found = explain.grad_cam_plus_plus(model, IMAGES, class_index=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "softmax layer", "softmax in a nested model"])
@pytest.mark.parametrize("score", [metrics.deletion, metrics.insertion])
def test_scores_take_logits_and_probabilities(kind, score, same_weights):
    maps = RNG.random((3, 8, 8))
    for class_index in (None, 1):
        settings = {"steps": 4, "class_index": class_index, "verbose": 0}
        found, expected = (
            score(same_weights[each], IMAGES, maps, **settings) for each in (kind, "logits")
        )
        np.testing.assert_allclose(found["curve"], expected["curve"], rtol=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=marks) for name, marks in APPLICATIONS.items()]
)
def test_applications(name):
    model = getattr(keras.applications, name)(
        input_shape=(64, 64, 3), weights=None, classes=5, classifier_activation="softmax"
    )
    images = RNG.integers(0, 256, (2, 64, 64, 3)).astype("float32")
    maps = explain.grad_cam(model, images, class_index=3)
    assert maps.shape[0] == 2
    assert maps.shape[1] == maps.shape[2] >= 2
    assert np.isfinite(maps).all()
    assert (maps >= 0).all()
    gradients = explain.gradient_map(model, images, map_shape=(8, 8))
    assert gradients.shape == (2, 8, 8, 1)
    assert gradients.any()
