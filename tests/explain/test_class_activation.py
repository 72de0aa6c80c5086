"""Class activation maps of models for which they are known, and what all saliency maps share."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from aib_keras import zoo
from aib_keras.explain import class_activation, grad_cam, gradient_map, score_cam
from aib_keras.models import PlainClassifier

RNG = np.random.default_rng(0)
# The side of the features for images of 32 pixels, and of 64 for the models of 224 pixels.
SIDES = {"vgg_gap": 8, **dict.fromkeys(("vgg16", "vgg16_aib", "vgg16_aib_qt"), 4)}
SIDES |= dict.fromkeys(("wrn50_2", "wrn50_2_aib", "wrn50_2_aib_qt"), 4)
SIDES |= dict.fromkeys(zoo.list_models("efficientnet*"), 4)
QUICK = ("vgg_dvib", "vgg_aib_qt")


def images(side=32, count=3):
    return RNG.integers(0, 256, (count, side, side, 3)).astype("uint8")


@pytest.fixture(scope="module")
def vgg_gap():
    return zoo.vgg_gap(width=0.03)


def test_grad_cam_before_global_pooling_is_the_class_activation_map(vgg_gap):
    """Selvaraju et al., section 3, except for the ReLU and the number of positions."""
    batch = images()
    expected = np.maximum(vgg_gap.explain(batch)["attention"], 0) / 64
    assert expected.any()
    np.testing.assert_allclose(grad_cam(vgg_gap, batch), expected, rtol=1e-3, atol=1e-6)


def test_a_second_call_does_not_compile_again_and_sees_other_weights(monkeypatch):
    inputs = keras.Input((8, 8, 3))
    features = layers.Conv2D(4, 3, activation="relu", name="features")(inputs)
    head = layers.Dense(2)
    backbone = keras.Model(inputs, head(layers.GlobalAveragePooling2D()(features)))
    model, batch, traced = PlainClassifier(backbone), images(8), []
    weights_of = class_activation._GradCAM.weights_of

    def counted(*values):
        traced.append(None)
        return weights_of(*values)

    monkeypatch.setattr(class_activation._GradCAM, "weights_of", counted)
    before = grad_cam(model, batch, layer="features")
    count = len(traced)
    head.set_weights([2 * weight for weight in head.get_weights()])
    after = grad_cam(model, batch, layer="features")
    assert before.any()
    np.testing.assert_allclose(after, 2 * before, rtol=1e-4, atol=1e-6)
    assert len(traced) == count


def test_the_features_can_be_those_of_any_layer(vgg_gap):
    batch = images()
    place = vgg_gap.feature_extractor.get_layer("block1_pool")
    found = grad_cam(vgg_gap, batch, layer="block1_pool")
    assert found.shape == (3, 16, 16, 1)
    np.testing.assert_allclose(grad_cam(vgg_gap, batch, layer=place), found, rtol=1e-4)
    # The model itself has not changed.
    assert "call" not in vars(place)
    logits = ops.convert_to_numpy(vgg_gap(batch))
    np.testing.assert_allclose(vgg_gap.explain(batch)["logits"], logits, rtol=1e-4, atol=1e-4)


def test_the_features_are_those_of_the_models_features_layer():
    inputs = keras.Input((8, 8, 3))
    first = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")
    second = layers.Conv2D(4, 3, strides=2, activation="relu", name="second")
    pooled = layers.GlobalAveragePooling2D()(second(first(inputs)))
    backbone = keras.Model(inputs, layers.Dense(2)(pooled))

    class WithFeatures(PlainClassifier):
        features_layer = first

    class WithoutFeatures(PlainClassifier):
        features_layer = None

    batch = images(8)
    expected = grad_cam(WithoutFeatures(backbone), batch, layer="first")
    np.testing.assert_allclose(grad_cam(WithFeatures(backbone), batch), expected, rtol=1e-5)
    assert expected.any()
    assert grad_cam(WithFeatures(backbone), batch, layer="second").shape == (3, 3, 3, 1)
    with pytest.raises(ValueError, match="not known which layer.*as `layer`"):
        grad_cam(WithoutFeatures(backbone), batch)


def test_wrong_layers_and_models_are_errors(vgg_gap):
    with pytest.raises(ValueError, match="no layer 'block1_pol'. Did you mean 'block1_pool'"):
        grad_cam(vgg_gap, images(), layer="block1_pol")
    with pytest.raises(ValueError, match=r"\(B, h, w, C\).*'logits' have shapes"):
        grad_cam(vgg_gap, images(), layer="logits")
    with pytest.raises(TypeError, match="built keras.Model"):
        gradient_map(keras.Sequential([layers.Flatten()]), images(4))
    with pytest.raises(ValueError, match="not known which layer"):
        grad_cam(keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten()]), images(4))
    for wrong in (10, -1, [1, 2], 0.5):
        with pytest.raises(ValueError, match="`class_index` must be"):
            grad_cam(vgg_gap, images(), class_index=wrong)
    inputs = keras.Input((8, 8, 3))
    features = layers.Conv2D(2, 3)(inputs)
    plain = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(features)))
    with pytest.raises(ValueError, match="at least one image"):
        grad_cam(plain, images(8)[:0])


@pytest.mark.parametrize("shape", [(3, 4, 4, 1), (3, 4, 4, 4), (3, 3, 4, 4), (4, 4, 3)])
@pytest.mark.parametrize("saliency", [gradient_map, grad_cam])
def test_images_of_another_layout_are_errors(saliency, shape, vgg_gap):
    with pytest.raises(ValueError, match=rf"got (shape )?{re.escape(str(shape))}"):
        saliency(vgg_gap, np.zeros(shape, "uint8"))


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in zoo.list_models()
    ],
)
def test_every_model_of_the_zoo(name, settled):
    side = 64 if name.startswith(("vgg16", "wrn50", "efficientnet")) else 32
    model = zoo.get(name)(input_shape=(side, side, 3), width=0.03)
    batch = images(side)
    settled(model, batch.astype("float32"))
    cams = grad_cam(model, batch)
    assert cams.shape == (3, SIDES.get(name, 16), SIDES.get(name, 16), 1)
    explanation = model.explain(batch)
    if "attention" in explanation:
        assert cams.shape == explanation["attention"].shape
    gradients = gradient_map(model, batch)
    assert gradients.shape == (3, side, side, 1)
    for maps in (cams, gradients):
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()
        assert (maps >= 0).all()
        assert maps.any()


def test_score_cam_weighs_the_channels_by_what_their_part_of_the_image_does():
    # Three channels of features: red in the left half, green in the right half, and nothing.
    inputs = keras.Input((4, 4, 3))
    red_left = np.zeros((4, 4, 3), "float32")
    red_left[:, :2, 0] = 1
    red_left[:, 2:, 1] = 1
    features = layers.Multiply(name="features")([inputs, ops.convert_to_tensor(red_left)[None]])
    pooled = layers.GlobalAveragePooling2D()(features)
    dense = layers.Dense(2, use_bias=False, kernel_initializer="zeros", name="logits")
    model = keras.Model(inputs, dense(pooled))
    dense.set_weights([np.array([[4, 0], [0, 4], [0, 0]], "float32")])
    batch = np.zeros((1, 4, 4, 3), "float32")
    batch[:, :, :2, 0] = batch[:, :, 2:, 1] = 2
    for class_index, side in ((0, slice(0, 2)), (1, slice(2, 4))):
        found = score_cam(model, batch, layer="features", class_index=class_index)
        masks = np.stack([batch[0, ..., 0] / 2, batch[0, ..., 1] / 2, np.zeros((4, 4))])
        mean = batch[0].mean((0, 1))
        masked = mean + masks[..., None] * (batch[0] - mean)
        logits = ops.convert_to_numpy(model(masked))[:, class_index]
        weights = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(found[0, ..., 0], batch[0] @ weights, rtol=1e-4)
        other = 2 - side.start
        assert found[0, :, side].mean() > found[0, :, other : other + 2].mean()


def test_score_cam_ignores_channels_that_are_the_same_everywhere():
    channels = RNG.random((7, 7, 2)).astype("float32")
    # Resizing changes its last digits on some backends.
    channels[..., 1] = 0.3
    masks = class_activation._channel_masks(channels, (50, 50))
    assert (masks[0].min(), masks[0].max()) == (0, 1)
    assert not masks[1].any()


def test_grad_cam_plus_plus_of_features_before_a_relu():
    """The weight of a channel grows with its gradient, and is never negative."""
    features = ops.convert_to_tensor([[[[-1.0, 0.5]], [[-2.0, 1.0]]]])
    gradients = ops.ones((1, 2, 1, 2)) * ops.convert_to_tensor([1.0, 2.0])
    weights_of = class_activation._GradCAMPlusPlus.weights_of
    weights = ops.convert_to_numpy(weights_of(None, features, gradients))[0, 0, 0]
    # Eq. 19 with sums over the features of 0 and 1.5: 2 / 2 and 2 * 4 * 2 / (2 * 4 + 1.5 * 8).
    np.testing.assert_allclose(weights, [1.0, 0.8], rtol=1e-6)


def test_score_cam_of_the_predicted_class_in_any_batch_size(vgg_gap):
    batch = images(count=2)
    found = score_cam(vgg_gap, batch, batch_size=7)
    predicted = vgg_gap.explain(batch)["logits"].argmax(axis=-1)
    np.testing.assert_allclose(found, score_cam(vgg_gap, batch, class_index=predicted), rtol=1e-3)
    assert found.shape == (2, 8, 8, 1)
    assert found.min() >= 0
    assert found.any()


def test_score_cam_of_a_model_that_ends_in_a_softmax_is_that_of_its_logits():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    features = layers.Conv2D(4, 3, activation="relu", name="features")(inputs)
    logits = layers.Dense(3)(layers.GlobalAveragePooling2D()(features))
    batch = images(side=8, count=2)
    found, expected = (
        score_cam(keras.Model(inputs, outputs), ops.convert_to_tensor(batch), batch_size=3)
        for outputs in (layers.Softmax()(logits), logits)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.any()
