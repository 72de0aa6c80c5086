"""From images to probabilities, maps and bits, without the page."""

import math

import keras
import numpy as np
import pytest

from aib_keras import explain, zoo
from aib_keras.app import choices
from aib_keras.app.predictions import GRAD_CAM, MAP, QUANTIZED, Trained
from aib_keras.data import EvaluationTransform


@pytest.fixture(scope="module")
def load(runs):
    offered = choices.Choices(choices.trained([runs]))
    return lambda model: offered.load(f"{model} on cluttered_digits (seed 0)")


def test_what_is_shown_is_what_the_model_explains(load, digits):
    trained = load("vgg_aib_qt")
    found = trained.predict(digits[:3], with_grad_cam=True)
    expected = trained.model.explain(digits[:3])
    shares = keras.ops.convert_to_numpy(keras.ops.softmax(expected["logits"]))
    grad_cam = explain.grad_cam(trained.model, digits[:3])
    assert trained.maps == (MAP, QUANTIZED, GRAD_CAM)
    for index, one in enumerate(found):
        np.testing.assert_allclose(one.probabilities, shares[index], atol=1e-6)
        assert one.class_name == f"class {shares[index].argmax()}"
        assert tuple(one.maps) == trained.maps
        np.testing.assert_array_equal(one.maps[MAP], expected["attention"][index, ..., 0])
        quantized = expected["attention_quantized"][index, ..., 0]
        np.testing.assert_array_equal(one.maps[QUANTIZED], quantized)
        np.testing.assert_allclose(one.maps[GRAD_CAM], grad_cam[index, ..., 0], rtol=1e-5)
        assert one.anchors_in_use == len(set(quantized.flat))
        assert one.bits == pytest.approx(expected["kl_nats"][index] / math.log(2))
        assert one.cell_bits is None


def test_bits_pass_the_cells_of_a_map_that_noise_fills_up(digits):
    model = zoo.vgg_aib_qt(weights="digits")
    found = Trained(model, "0123456789", EvaluationTransform(32)).predict(digits[:2])
    nats = model.explain(digits[:2])["attention_nats"]
    for index, one in enumerate(found):
        np.testing.assert_allclose(one.cell_bits, nats[index, ..., 0] / math.log(2))


@pytest.mark.parametrize(
    ("model", "maps", "has_bits"),
    [("vgg", (), False), ("vgg_dvib", (), True), ("vgg_gap", (MAP,), False)],
)
def test_models_without_a_map_or_bits_say_so(load, digits, model, maps, has_bits):
    trained = load(model)
    (found,) = trained.predict(digits[:1])
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(trained.model(digits[:1])))
    np.testing.assert_allclose(found.probabilities, expected[0], atol=1e-5)
    assert (tuple(found.maps), found.bits is not None) == (maps, has_bits)
    assert trained.maps == (*maps, GRAD_CAM)
    assert trained.num_anchors is None


def test_a_model_that_diverged_says_so(runs, digits):
    (choice,) = choices.trained([runs / "vgg"])
    trained = choice.load()
    trained.model.set_weights([np.nan * weight for weight in trained.model.get_weights()])
    with pytest.raises(ValueError, match="training has diverged"):
        trained.predict(digits[:1])
