import math

import numpy as np
import pytest

from aib_keras import metrics, zoo

LN2 = math.log(2)


def test_bits_are_nats_divided_by_ln_2():
    np.testing.assert_allclose(metrics.nats_to_bits([LN2, 0, 10 * LN2]), [1, 0, 10])


def test_groups_by_hand():
    # Classes 0, 0, 0, 1; the last of class 0 is predicted as 1.
    logits = np.array([[2.0, 1], [2, 1], [1, 2], [1, 2]])
    explanation = {"logits": logits, "kl_nats": np.array([1.0, 3.0, 4.0, 2.0]) * LN2}
    found = metrics.information(explanation, [0, 0, 0, 1], bins=3)
    np.testing.assert_allclose(found.bits, [1, 3, 4, 2])
    np.testing.assert_allclose(found.mean, [2, 4])
    np.testing.assert_allclose(found.class_mean, [[2, 4], [2, np.nan]])
    np.testing.assert_allclose(found.edges, [1, 2, 3, 4])
    # As in NumPy's histograms, the last bin includes its upper edge.
    expected = [[[1, 0, 1], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]]
    np.testing.assert_array_equal(found.count, expected)


def test_histograms_are_numpys():
    rng = np.random.default_rng(0)
    explanation = {"logits": rng.normal(size=(500, 3)), "kl_nats": rng.gamma(3, 4, 500)}
    found = metrics.information(explanation, rng.integers(0, 3, 500))
    histogram, _ = np.histogram(found.bits, found.edges)
    np.testing.assert_array_equal(found.count.sum(axis=(0, 1)), histogram)


def test_the_same_bits_in_every_image_are_no_error():
    explanation = {"logits": np.eye(2), "kl_nats": np.zeros(2)}
    found = metrics.information(explanation, [0, 1])
    assert found.count.sum() == 2
    assert np.isnan(found.mean[1])


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({"kl_nats": np.zeros(3)}, [0, 1], r"same images.*\(3,\)"),
        ({"kl_nats": np.zeros((2, 1))}, [0, 1], r"\(2, 1\)"),
        ({"kl_nats": np.array([0, np.nan])}, [0, 1], "`kl_nats` must be finite"),
        ({"logits": np.full((2, 2), np.nan)}, [0, 1], "`logits` must be finite"),
        ({"logits": np.zeros((2, 2, 2))}, [0, 1], r"\(N, C\).*\(2, 2, 2\)"),
        ({"logits": np.zeros((0, 2)), "kl_nats": np.zeros(0)}, [], "at least one"),
        ({}, [0], r"shape \(2,\); got int64 of shape \(1,\)"),
        ({}, [[0, 1]], r"of shape \(1, 2\)"),
        ({}, [0, 2], r"in \[0, 2\)"),
        ({}, [0.0, 1.0], "integers"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, labels, message):
    explanation = {"logits": np.eye(2), "kl_nats": np.zeros(2), **changes}
    with pytest.raises(ValueError, match=message):
        metrics.information(explanation, labels)


def test_a_model_without_an_encoder_has_no_information():
    with pytest.raises(ValueError, match=r"lacks kl_nats.*vgg_dvib"):
        metrics.information({"logits": np.eye(2), "attention": np.zeros((2, 4, 4, 1))}, [0, 1])


@pytest.mark.parametrize("name", ["vgg_aib", "vgg_dvib"])
def test_what_a_model_explains_has_its_information(name):
    """With a map and without one."""
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("uint8")
    model = zoo.get(name)(width=0.03, latent_dim=4)
    explanation = model.explain(images)
    found = metrics.information(explanation, explanation["logits"].argmax(axis=-1))
    np.testing.assert_allclose(found.bits, explanation["kl_nats"] / LN2, rtol=1e-6)
    np.testing.assert_allclose(found.mean, [found.bits.mean(), np.nan])
