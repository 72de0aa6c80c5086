import keras
import numpy as np
import pytest
from keras import ops

from aib_keras.layers import AnchorQuantizer, IBAttention

SHAPE = (2, 5, 4, 3)


def features(shape=SHAPE):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def attend(layer, inputs, **kwargs):
    modulated, maps = layer(inputs, return_attention=True, **kwargs)
    arrays = {name: ops.convert_to_numpy(value) for name, value in maps.items()}
    return ops.convert_to_numpy(modulated), arrays


def conv3x3(inputs, kernel, bias):
    """A 3x3 "same" convolution to one channel, in numpy."""
    padded = np.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = inputs.shape[1:3]
    outputs = np.full((*inputs.shape[:3], 1), bias, "float64")
    for row, column in np.ndindex(3, 3):
        window = padded[:, row : row + height, column : column + width]
        outputs += window @ kernel[row, column]
    return outputs


def test_distribution_is_the_papers():
    layer, inputs = IBAttention(), features()
    _, maps = attend(layer, inputs)
    mean = 1 / (1 + np.exp(-conv3x3(inputs, *layer.head.get_weights())))
    np.testing.assert_allclose(maps["attention_mean"], mean, rtol=1e-5)
    std = np.logaddexp(0, conv3x3(mean, *layer.std_conv.get_weights()) - 5)
    np.testing.assert_allclose(maps["attention_std"], std, rtol=1e-4)
    np.testing.assert_array_equal(maps["attention"], maps["attention_mean"])
    assert set(maps) == {"attention_mean", "attention_std", "attention"}


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("sample", [False, True])
def test_modulation(quantized, sample):
    inputs = features()
    for modulation, offset in (("residual", 1.0), ("mask", 0.0)):
        quantizer = AnchorQuantizer(5) if quantized else None
        layer = IBAttention(quantizer=quantizer, modulation=modulation)
        modulated, maps = attend(layer, inputs, sample=sample)
        used = maps["attention_quantized" if quantized else "attention"]
        np.testing.assert_allclose(modulated, inputs * (offset + used), rtol=1e-5, atol=1e-6)


def test_quantized_map_is_made_of_anchors_and_nearest_to_the_map():
    layer = IBAttention(quantizer=AnchorQuantizer(6))
    _, maps = attend(layer, features((2, 9, 9, 3)), sample=True)
    anchors = ops.convert_to_numpy(layer.quantizer.anchors)
    assert np.isin(maps["attention_quantized"], anchors).all()
    distance = np.abs(maps["attention_quantized"] - maps["attention"])
    assert np.all(distance <= np.abs(maps["attention"] - anchors).min(axis=-1, keepdims=True))


def test_output_without_the_maps_is_the_same():
    layer, inputs = IBAttention(quantizer=AnchorQuantizer(5)), features()
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(inputs)), attend(layer, inputs)[0])


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
def test_when_the_map_is_drawn(training, sample, drawn):
    _, maps = attend(IBAttention(), features(), training=training, sample=sample)
    assert np.array_equal(maps["attention"], maps["attention_mean"]) != drawn


def test_draws_have_the_mean_and_the_std_of_the_distribution_and_leave_the_unit_interval():
    layer = IBAttention(seed=3)
    layer.build((None, 4, 4, 2))
    layer.std_conv.bias.assign([7.0])
    _, maps = attend(layer, np.tile(features((1, 4, 4, 2)), (20_000, 1, 1, 1)), sample=True)
    draws, mean, std = maps["attention"], maps["attention_mean"][0], maps["attention_std"][0]
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * std / np.sqrt(len(draws)))
    np.testing.assert_allclose(draws.std(axis=0), std, rtol=0.03)
    # Independent at every position.
    noise = ((draws - mean) / std).reshape(len(draws), -1)
    np.testing.assert_allclose(noise.T @ noise / len(noise), np.eye(16), atol=0.05)
    assert draws.min() < 0
    assert draws.max() > 1


def test_noise_repeats_with_the_seed_and_changes_from_call_to_call():
    inputs, draws = features(), {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        keras.utils.set_random_seed(0)
        layer = IBAttention(seed=seed)
        draws[name] = [attend(layer, inputs, sample=True)[1]["attention"] for _ in range(2)]
    np.testing.assert_array_equal(draws["first"], draws["again"])
    assert not np.allclose(draws["first"][0], draws["other"][0])
    assert not np.allclose(draws["first"][0], draws["first"][1])


@pytest.mark.parametrize("quantized", [False, True])
def test_the_heads_gradient_is_that_of_the_map_with_and_without_a_quantizer(quantized, gradients):
    layer = IBAttention(quantizer=AnchorQuantizer(4) if quantized else None)
    inputs = features()
    _, maps = attend(layer, inputs)

    bias, kernel = gradients(
        lambda: ops.sum(layer(inputs)), [], [layer.head.bias, layer.head.kernel]
    )
    mean = maps["attention_mean"].astype("float64")
    of_logits = inputs.sum(axis=-1, keepdims=True) * mean * (1 - mean)
    assert bias[0] == pytest.approx(of_logits.sum(), rel=1e-4, abs=1e-5)
    assert np.any(kernel)


def test_the_task_loss_reaches_the_std_through_a_draw_and_no_anchor(gradients):
    layer, inputs = IBAttention(quantizer=AnchorQuantizer(4)), features()
    layer.build(inputs.shape)
    of_std, of_anchors = gradients(
        lambda: ops.sum(layer(inputs, sample=True)),
        [],
        [layer.std_conv.kernel, layer.quantizer.anchors],
    )
    assert np.any(of_std)
    assert of_anchors is None or not of_anchors.any()


def test_a_head_of_ones_own_is_told_whether_the_model_trains():
    head = keras.Sequential([keras.layers.BatchNormalization(), keras.layers.Conv2D(1, 1)])
    layer, inputs = IBAttention(head=head), 3 + features()
    layer(inputs)
    moving_mean = head.layers[0].moving_mean
    np.testing.assert_array_equal(ops.convert_to_numpy(moving_mean), 0.0)
    layer(inputs, training=True)
    assert np.all(ops.convert_to_numpy(moving_mean) > 0)


def test_height_and_width_may_be_unknown():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, IBAttention(quantizer=AnchorQuantizer(3))(inputs))
    for side in (4, 7):
        assert model(features((1, side, side + 1, 3))).shape == (1, side, side + 1, 3)


def test_symbolic_outputs_have_shapes_and_dtypes():
    layer = IBAttention(quantizer=AnchorQuantizer(3))
    modulated, maps = layer(keras.Input((5, 4, 3)), return_attention=True)
    assert modulated.shape == (None, 5, 4, 3)
    assert {(tensor.shape, tensor.dtype) for tensor in maps.values()} == {
        ((None, 5, 4, 1), "float32")
    }
    assert set(maps) == {
        "attention_mean",
        "attention_std",
        "attention",
        "attention_quantized",
    }


def test_config_round_trip():
    layer = IBAttention(
        head=keras.layers.Conv2D(1, 1, name="own_head"),
        quantizer=AnchorQuantizer(5, name="q"),
        modulation="mask",
        seed=5,
        kernel_initializer="he_normal",
        name="attention",
    )
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config() == layer.get_config()
    inputs = features()
    layer(inputs), copy(inputs)
    copy.set_weights(layer.get_weights())
    draws = [ops.convert_to_numpy(part(inputs, sample=True)) for part in (layer, copy)]
    np.testing.assert_allclose(*draws, rtol=1e-6)


def test_config_round_trip_of_the_defaults():
    layer = IBAttention()
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    inputs = features()
    layer(inputs), copy(inputs)
    assert [w.shape for w in copy.weights] == [w.shape for w in layer.weights]
    assert copy.quantizer is None


def test_unknown_modulation_lists_the_known_ones():
    with pytest.raises(ValueError, match="(?s)'residual'.*'mask'.*'multiply'"):
        IBAttention(modulation="multiply")


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3), (2, 4, 4, 4, 3)])
def test_features_of_another_rank_are_an_error(shape):
    with pytest.raises(ValueError, match="height, width, channels"):
        IBAttention()(np.zeros(shape, "float32"))


def test_features_of_unknown_channels_are_an_error():
    with pytest.raises(ValueError, match="last axis"):
        IBAttention()(keras.Input((4, 4, None)))


@pytest.mark.parametrize("symbolic", [False, True])
def test_integer_features_are_an_error(symbolic):
    inputs = keras.Input((4, 4, 3), dtype="int32") if symbolic else np.zeros(SHAPE, "uint8")
    with pytest.raises(TypeError, match="floating"):
        IBAttention()(inputs)


@pytest.mark.parametrize(
    "head",
    [keras.layers.Conv2D(2, 3, padding="same"), keras.layers.Conv2D(1, 3)],
    ids=["two-channels", "smaller-map"],
)
def test_a_head_that_gives_no_map_is_an_error(head):
    with pytest.raises(ValueError, match="one value per position"):
        IBAttention(head=keras.layers.deserialize(keras.layers.serialize(head)))(features())
