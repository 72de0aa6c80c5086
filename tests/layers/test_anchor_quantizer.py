import keras
import numpy as np
import pytest
from keras import ops

from aib_keras.layers import AnchorQuantizer


def quantizer(anchors, **kwargs):
    layer = AnchorQuantizer(len(anchors), **kwargs)
    layer.build((None, 4, 4, 1))
    layer.anchors.assign(np.asarray(anchors, "float32"))
    return layer


def values(count=200, low=-0.5, high=1.5):
    drawn = np.random.default_rng(0).uniform(low, high, (2, count // 2, 1, 1))
    return drawn.astype("float32")


def nearest(inputs, anchors):
    """The nearest anchor of each value by brute force."""
    anchors = np.asarray(anchors, "float32")
    distances = np.abs(inputs[..., None].astype("float64") - anchors)
    return anchors[np.argmin(distances, axis=-1)]


def quantize(layer, inputs):
    return ops.convert_to_numpy(layer(inputs))


def test_anchors_start_evenly_spaced():
    layer = AnchorQuantizer(5)
    layer.build((None, 1))
    np.testing.assert_allclose(ops.convert_to_numpy(layer.anchors), [0, 0.25, 0.5, 0.75, 1])
    assert [variable.path.split("/")[-1] for variable in layer.trainable_variables] == ["anchors"]


@pytest.mark.parametrize(
    "anchors",
    [
        np.linspace(0, 1, 20),
        np.random.default_rng(1).permutation(np.linspace(0, 1, 7)),
        np.random.default_rng(2).normal(size=50),
        [0.3, 0.3, 0.3],
        [0.9, 0.1, 0.9, 0.1],
        [-100.0, 1e-3, 2e-3, 100.0],
    ],
    ids=["even", "shuffled", "random", "all-equal", "pairs-equal", "spread"],
)
def test_output_is_exactly_the_nearest_anchor(anchors):
    inputs = values()
    np.testing.assert_array_equal(quantize(quantizer(anchors), inputs), nearest(inputs, anchors))


def test_a_tie_goes_to_the_lower_anchor_in_any_order():
    inputs = np.array([[0.125, 0.375, 0.875]], "float32")
    for anchors in ([0, 0.25, 0.5, 0.75, 1.0], [0.75, 0, 1.0, 0.25, 0.5]):
        np.testing.assert_array_equal(quantize(quantizer(anchors), inputs), [[0.0, 0.25, 0.75]])


def test_values_outside_the_anchors_get_the_outermost():
    inputs = np.array([[-1e6, -0.1, 1.1, 1e6]], "float32")
    np.testing.assert_array_equal(
        quantize(quantizer([0.25, 0.75]), inputs), [[0.25, 0.25, 0.75, 0.75]]
    )


@pytest.mark.parametrize("shape", [(6,), (3, 2), (2, 3, 4), (2, 3, 3, 1), (1, 2, 3, 4, 5)])
def test_any_shape(shape):
    inputs = np.random.default_rng(0).random(shape).astype("float32")
    outputs = quantize(AnchorQuantizer(3), inputs)
    np.testing.assert_array_equal(outputs, nearest(inputs, [0.0, 0.5, 1.0]))


def test_gradient_of_the_output_is_the_identity_and_reaches_no_anchor(gradients):
    layer, inputs = quantizer([0.9, 0.1, 0.5]), values()
    weights = np.random.default_rng(3).standard_normal(inputs.shape).astype("float32")
    of_inputs, of_anchors = gradients(
        lambda inputs: ops.sum(ops.multiply(layer(inputs), weights)), [inputs], [layer.anchors]
    )
    np.testing.assert_allclose(of_inputs, weights, rtol=1e-6)
    assert of_anchors is None or not of_anchors.any()


@pytest.mark.parametrize("anchors", [[0.1, 0.5, 0.9], [0.9, 0.1, 0.5]], ids=["sorted", "shuffled"])
def test_loss_and_its_gradients_are_the_closed_form(anchors, gradients):
    layer = quantizer(anchors, quantization_weight=0.4, commitment_weight=0.1)
    inputs = values()
    chosen = nearest(inputs, anchors)

    def loss(inputs):
        layer(inputs)
        return sum(layer.losses)

    of_inputs, of_anchors = gradients(loss, [inputs], [layer.anchors])
    difference = inputs - chosen
    assert float(loss(inputs)) == pytest.approx(0.5 * np.mean(difference**2), rel=1e-5)
    np.testing.assert_allclose(of_inputs, 0.1 * 2 * difference / inputs.size, rtol=1e-4, atol=1e-8)
    expected = [
        -0.4 * 2 * difference[chosen == np.float32(anchor)].sum() / inputs.size
        for anchor in anchors
    ]
    np.testing.assert_allclose(of_anchors, expected, rtol=1e-4, atol=1e-7)


def test_equal_anchors_keep_finite_gradients_that_sum_to_that_of_one(gradients):
    layer, inputs = quantizer([0.4, 0.4], quantization_weight=1.0), values()

    def loss(inputs):
        layer(inputs)
        return sum(layer.losses)

    (of_anchors,) = gradients(lambda: loss(inputs), [], [layer.anchors])
    assert np.sum(of_anchors) == pytest.approx(-2 * np.mean(inputs - np.float32(0.4)), rel=1e-4)


@pytest.mark.parametrize(("quantization", "commitment"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_weights_select_the_terms(quantization, commitment, gradients):
    layer = quantizer([0.2, 0.8], quantization_weight=quantization, commitment_weight=commitment)

    def loss(inputs):
        layer(inputs)
        return sum(layer.losses)

    of_inputs, of_anchors = gradients(loss, [values()], [layer.anchors])
    assert np.any(of_inputs) == (commitment > 0)
    assert np.any(of_anchors) == (quantization > 0)


def test_metrics_are_the_mean_squares(observed):
    layer, inputs = quantizer([0.2, 0.8]), values()
    layer(inputs)
    expected = np.mean((inputs - nearest(inputs, [0.2, 0.8])) ** 2)
    assert observed(layer.quantization_mse) == pytest.approx(expected, rel=1e-5)
    assert observed(layer.commitment_mse) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("inputs", "share"),
    [
        ([[0.0, 0.1, 0.05]], 0.25),
        ([[0.0, 0.34], [0.7, 1.0]], 1.0),
        ([[0.0, 2.0], [-1.0, 0.1]], 0.5),
        ([[0.3, 0.3], [0.6, 1.0]], 0.75),
    ],
)
def test_anchors_in_use_is_the_share_that_some_position_was_given(inputs, share, observed):
    layer = quantizer([2 / 3, 0.0, 1.0, 1 / 3])
    layer(np.asarray(inputs, "float32"))
    assert observed(layer.anchors_in_use) == pytest.approx(share)


def test_config_round_trip():
    layer = AnchorQuantizer(7, quantization_weight=0.3, commitment_weight=0.2, name="q")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config() == layer.get_config()
    assert copy.get_config()["num_anchors"] == 7
    assert copy.quantization_weight == 0.3
    assert copy.commitment_weight == 0.2


@pytest.mark.parametrize("num_anchors", [1, 0, -3, 2.0, True, "5", None])
def test_num_anchors_must_be_an_integer_of_at_least_2(num_anchors):
    with pytest.raises(ValueError, match="num_anchors"):
        AnchorQuantizer(num_anchors)


@pytest.mark.parametrize("argument", ["quantization_weight", "commitment_weight"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "0.1", None])
def test_weights_must_be_non_negative_numbers(argument, value):
    with pytest.raises(ValueError, match=argument):
        AnchorQuantizer(3, **{argument: value})


@pytest.mark.parametrize("symbolic", [False, True])
def test_integer_inputs_are_an_error(symbolic):
    inputs = keras.Input((3,), dtype="int32") if symbolic else np.zeros((2, 3), "int32")
    with pytest.raises(TypeError, match="floating"):
        AnchorQuantizer(3)(inputs)


def test_symbolic_output_has_the_inputs_shape():
    outputs = AnchorQuantizer(3)(keras.Input((None, 5, 1), dtype="float16"))
    assert (outputs.shape, outputs.dtype) == ((None, None, 5, 1), "float32")
