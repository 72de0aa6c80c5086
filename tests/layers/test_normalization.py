"""BatchNormalization: Keras's layer up to rounding, with TensorFlow's fused kernel or without."""

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras.layers import BatchNormalization

SHAPE = (6, 5, 4, 3)


def inputs(dtype="float32", seed=0):
    values = np.random.default_rng(seed).normal(2.0, 3.0, SHAPE)
    return ops.cast(ops.convert_to_tensor(values), dtype)


def pair(**settings):
    """Our layer and Keras's with the same weights, none of them at its initial value."""
    layers = [cls(**settings) for cls in (BatchNormalization, keras.layers.BatchNormalization)]
    rng = np.random.default_rng(1)
    for layer in layers:
        layer.build(SHAPE)
    values = [rng.uniform(0.5, 1.5, weight.shape) for weight in layers[0].weights]
    for layer in layers:
        layer.set_weights(values)
    return layers


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_under_a_pure_half_policy_it_is_kerass_layer(policy):
    ours, kerass = pair(dtype=policy)
    values = inputs(policy)
    found, expected = (
        ops.convert_to_numpy(ops.cast(layer(values, training=True), "float32"))
        for layer in (ours, kerass)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9, "epsilon": 1e-5},
        {"center": False},
        {"scale": False},
        {"axis": 1},
        {"renorm": True},
    ],
    ids=str,
)
def test_outputs_gradients_and_statistics_are_those_of_keras(settings, gradients):
    ours, keras_own = pair(**settings)
    outputs, found = [], []
    for layer in (ours, keras_own):

        def loss(x, layer=layer):
            # Not symmetric, or the gradient of a normalised batch would be 0.
            return ops.sum(ops.square(layer(x, training=True)) * inputs(seed=2))

        images = ops.convert_to_numpy(inputs())
        found.append(gradients(loss, [images], layer.trainable_variables))
        outputs.append(layer(inputs(), training=True))
    np.testing.assert_allclose(*map(ops.convert_to_numpy, outputs), rtol=1e-4, atol=1e-5)
    for gradient, expected in zip(*found, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)
    for weight, expected in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_half_precision_and_float32_statistics(dtype, training):
    ours, keras_own = pair(dtype=dtype)
    half = dtype.removeprefix("mixed_")
    outputs = [layer(inputs(half), training=training) for layer in (ours, keras_own)]
    assert [keras.backend.standardize_dtype(each.dtype) for each in outputs] == [half, half]
    outputs = [ops.convert_to_numpy(ops.cast(each, "float32")) for each in outputs]
    np.testing.assert_allclose(*outputs, rtol=2e-2, atol=2e-2)
    for weight, expected in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        assert weight.dtype == np.float32
        np.testing.assert_allclose(weight, expected, rtol=1e-2)


def test_inference_does_not_change_the_statistics():
    ours, keras_own = pair()
    before = ours.get_weights()
    outputs = [ops.convert_to_numpy(layer(inputs(), training=False)) for layer in (ours, keras_own)]
    np.testing.assert_allclose(*outputs, rtol=1e-5)
    for weight, expected in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_mask_counts_the_positions_that_it_shows():
    ours, keras_own = pair()
    mask = np.random.default_rng(3).random(SHAPE[:-1]) < 0.5
    outputs = [
        ops.convert_to_numpy(layer(inputs(), training=True, mask=ops.convert_to_tensor(mask)))
        for layer in (ours, keras_own)
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


def test_a_frozen_layer_uses_its_statistics():
    ours, _ = pair()
    ours.trainable = False
    training, inference = (ours(inputs(), training=value) for value in (True, False))
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (training, inference)), rtol=1e-5)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_files_load_into_the_layer_of_the_other_kind(suffix, tmp_path):
    ours, keras_own = (
        keras.Sequential([keras.Input(SHAPE[1:]), layer]) for layer in pair(name="norm")
    )
    x = inputs()
    keras_own.layers[0].set_weights([w + 0.5 for w in keras_own.layers[0].get_weights()])
    for source, target in ((keras_own, ours), (ours, keras_own)):
        path = tmp_path / f"model{suffix}"
        if suffix == ".keras":
            source.save(path)
            loaded = keras.saving.load_model(path)
        else:
            source.save_weights(path)
            target.load_weights(path)
            loaded = target
        np.testing.assert_allclose(
            ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(source(x)), rtol=1e-5
        )


@pytest.mark.tensorflow("The fused kernel is TensorFlow's.")
def test_training_uses_the_fused_kernel():
    import tensorflow as tf

    layer, _ = pair()
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(inputs())
    kinds = {operation.type for operation in graph.graph.get_operations()}
    assert "FusedBatchNormV3" in kinds
    synchronized, _ = pair(synchronized=True)
    graph = tf.function(lambda x: synchronized(x, training=True)).get_concrete_function(inputs())
    assert "FusedBatchNormV3" not in {each.type for each in graph.graph.get_operations()}
