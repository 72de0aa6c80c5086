"""Label smoothing for integer labels: Keras's loss of smoothed one-hot labels."""

import keras
import numpy as np
import pytest

from aib_keras.training.losses import SmoothedCrossentropy

LABELS = np.array([0, 3, 1])
LOGITS = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_it_is_the_cross_entropy_with_smoothed_labels(label_smoothing, from_logits):
    loss = SmoothedCrossentropy(label_smoothing, from_logits)
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    targets = np.eye(4)[LABELS] * (1 - label_smoothing) + label_smoothing / 4
    expected = -(targets * np.log(probabilities)).sum(axis=1).mean()
    found = loss(LABELS, LOGITS if from_logits else probabilities)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_labels_can_have_an_axis_of_one():
    loss = SmoothedCrossentropy(0.1)
    assert float(loss(LABELS[:, None], LOGITS)) == pytest.approx(float(loss(LABELS, LOGITS)))


def test_config_round_trip():
    config = keras.losses.serialize(SmoothedCrossentropy(0.2, from_logits=False))
    loss = keras.losses.deserialize(config)
    assert (loss.label_smoothing, loss.from_logits) == (0.2, False)
