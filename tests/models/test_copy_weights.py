"""Weights of one model as a start for another."""

import keras
import numpy as np
import pytest
from keras import layers

from aib_keras import models, zoo

SETTINGS = {"width": 0.03, "input_shape": (64, 64, 3)}


def randomized(model):
    """The model with values that no layer starts with."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "float" in variable.dtype:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def values(layer):
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in layer.weights}


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for value, wanted in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize(
    "name",
    [
        name if name == "vgg_aib_qt" else pytest.param(name, marks=pytest.mark.slow)
        for name in zoo.list_models()
    ],
)
def test_a_copy_of_a_zoo_model_computes_the_same(name):
    settings = {"width": 0.03}
    if name.startswith(("vgg16", "wrn50", "efficientnet")):
        settings["input_shape"] = (64, 64, 3)
    if "aib" in name:
        settings |= {"modulation": "noise", "map_beta": 0.3}
    source, target = randomized(zoo.create(name, **settings)), zoo.create(name, **settings)
    models.copy_weights(source, target)
    prices = ("beta", "map_beta", "seed_generator_state")
    found, expected = (
        {path: value for path, value in values(model).items() if not path.endswith(prices)}
        for model in (target, source)
    )
    assert_equal(found, expected)


class Scaled(layers.Layer):
    """A layer with a weight of its own, and one inside it."""

    def __init__(self):
        super().__init__(name="scaled")
        self.dense = layers.Dense(2, name="dense")

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(2,), name="scale")
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.scale * self.dense(inputs)


def test_weights_beside_inner_layers_are_copied():
    source, target = (keras.Sequential([keras.Input((3,)), Scaled()]) for _ in range(2))
    randomized(source)
    assert sorted(models.copy_weights(source, target)) == ["dense", "scaled"]
    assert_equal(values(target), values(source))


def test_the_attention_does_not_take_the_layers_of_the_backbone():
    """Layers of the attention head of Wide-ResNet-50-2 have the names of those of its layer 4."""
    source = randomized(zoo.wrn50_2(**SETTINGS))
    target = zoo.wrn50_2_aib(**SETTINGS, latent_dim=4)
    before = values(target.attention)
    models.copy_weights(source, target)
    assert_equal(values(target.attention), before)
    layer = target.encoder.trunk.get_layer("layer4_block2_conv1")
    assert_equal(values(layer), values(source.backbone.get_layer(layer.name)))

    other = randomized(zoo.wrn50_2_aib(**SETTINGS, latent_dim=4))
    models.copy_weights(other, target)
    for part in ("feature_extractor", "attention"):
        assert_equal(values(getattr(target, part)), values(getattr(other, part)))
    assert_equal(values(target.encoder.trunk), values(other.encoder.trunk))


def model_of(*names):
    inputs = keras.Input((4,))
    x = inputs
    for name in names:
        # In a model of its own, in which the name is the only one.
        inner = keras.Input((4,))
        x = keras.Model(inner, layers.Dense(4, name=name)(inner))(x)
    return keras.Model(inputs, x)


def test_layers_of_one_name_are_an_error_only_if_they_are_asked_for():
    assert models.copy_weights(model_of("a", "b", "b"), model_of("a")) == ["a"]
    assert models.copy_weights(model_of("a"), model_of("a", "b", "b")) == ["a"]
    with pytest.raises(ValueError, match="has 2 layers named 'b'.*Rename them"):
        models.copy_weights(model_of("a", "b", "b"), model_of("a", "b"))
    with pytest.raises(ValueError, match="no layer of the same name.* are a. Build both"):
        models.copy_weights(model_of("a"), model_of("b"))
