"""Scores of predictions for which they are known by construction or computed by hand."""

import math

import numpy as np
import pytest

from aib_keras import metrics


def binary(confidence, right):
    """Returns predictions of class 0 with these confidences, and labels that fit `right`."""
    confidence = np.asarray(confidence, "float64")
    return np.stack([confidence, 1 - confidence], axis=1), 1 - np.asarray(right, int)


def test_nll_by_hand():
    probabilities, labels = binary([0.5, 0.8], [1, 1])
    expected = -(math.log(0.5) + math.log(0.8)) / 2
    assert metrics.negative_log_likelihood(probabilities, labels) == pytest.approx(expected)
    uniform = np.full((3, 10), 0.1, "float32")
    assert metrics.negative_log_likelihood(uniform, [0, 1, 1]) == pytest.approx(math.log(10))
    assert metrics.negative_log_likelihood([[1.0, 0.0]], [0]) == 0
    small = metrics.negative_log_likelihood([[1.0, 1e-30]], [1])
    assert small == pytest.approx(30 * math.log(10))
    # A probability of 0 has the weight of the smallest normal number.
    assert metrics.negative_log_likelihood([[1.0, 0.0]], [1]) == pytest.approx(1022 * math.log(2))


def test_perfectly_calibrated_predictions_have_no_calibration_error():
    probabilities, labels = binary([0.8] * 5 + [0.6] * 5, [1, 1, 1, 1, 0, 1, 1, 1, 0, 0])
    assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(0, abs=1e-12)


def test_confident_and_always_wrong_is_the_worst_calibration():
    probabilities, labels = binary([1.0] * 4, [0] * 4)
    assert metrics.expected_calibration_error(probabilities, labels) == 1.0


def test_reliability_of_two_bins_by_hand():
    # Three classes, so that a confidence may lie below one half, and one at the edge of the bins.
    probabilities = np.array([[0.4, 0.3, 0.3], [0.5, 0.25, 0.25], [0.9, 0.1, 0.0], [0.7, 0.3, 0.0]])
    found = metrics.reliability(probabilities, [0, 1, 0, 0], bins=2)
    np.testing.assert_allclose(found.edges, [0, 0.5, 1])
    np.testing.assert_array_equal(found.count, [2, 2])
    np.testing.assert_allclose(found.confidence, [0.45, 0.8])
    np.testing.assert_allclose(found.accuracy, [0.5, 1.0])
    assert found.expected_calibration_error == pytest.approx((2 * 0.05 + 2 * 0.2) / 4)


def test_empty_bins_have_no_accuracy_and_do_not_count():
    probabilities, labels = binary([0.95, 0.95], [1, 0])
    found = metrics.reliability(probabilities, labels, bins=10)
    assert found.count.tolist() == [0] * 9 + [2]
    assert np.isnan(found.accuracy[:9]).all()
    assert found.expected_calibration_error == pytest.approx(0.45)


def test_confidences_that_are_equal_as_given_are_equal():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(9), 400).astype("float16") * np.float16(1e-3)
    probabilities = np.concatenate([np.full((400, 1), 0.999, "float16"), probabilities], axis=1)
    labels = np.arange(400) % 2
    assert len(np.unique(probabilities.sum(axis=1, dtype="float64"))) > 1
    _, error = metrics.risk_coverage(probabilities, labels)
    np.testing.assert_allclose(error, 0.5)


def test_risk_coverage_by_hand():
    # In the order of confidence: right, wrong, right, wrong.
    probabilities, labels = binary([0.6, 0.9, 0.8, 0.7], [0, 1, 0, 1])
    coverage, error = metrics.risk_coverage(probabilities, labels)
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(error, [0, 1 / 2, 1 / 3, 1 / 2])
    area = metrics.area_under_risk_coverage(probabilities, labels)
    assert area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidences_cannot_be_told_apart():
    for right in ([1, 1, 0, 0], [0, 0, 1, 1]):
        probabilities, labels = binary([0.7] * 4, right)
        np.testing.assert_allclose(metrics.risk_coverage(probabilities, labels)[1], 0.5)


def test_foreignness_by_hand():
    found = metrics.ood_scores([[0.5, 0.5], [1.0, 0.0]], kl_nats=[3.0, 1.0])
    np.testing.assert_allclose(found["maximum"], [0.5, 0.0])
    np.testing.assert_allclose(found["entropy"], [math.log(2), 0.0])
    np.testing.assert_allclose(found["kl"], [3.0, 1.0])
    assert set(metrics.ood_scores([[0.5, 0.5]])) == {"maximum", "entropy"}


def test_auroc_of_equal_separated_and_turned_scores():
    assert metrics.ood_auroc([0.3, 0.3], [0.3, 0.3, 0.3]) == 0.5
    assert metrics.ood_auroc([0.1, 0.2], [0.3, 0.4, 0.5]) == 1.0
    assert metrics.ood_auroc([0.3, 0.4], [0.1, 0.2]) == 0.0
    assert metrics.ood_auroc([0.1, 0.3], [0.2, 0.4]) == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[2.0, -1.0]], [0], "softmax"),
        ([[0.9, 0.9]], [0], r"sum to 1.*\[1.8, 1.8\]"),
        ([[np.nan, 1.0]], [0], "sum to 1"),
        ([0.5, 0.5], [0], r"shape \(images, classes\)"),
        (np.ones((0, 2)), [], r"at least \(1, 2\)"),
        ([[0.5, 0.5]], [0, 1], "one for each of the 1 rows"),
        ([[0.5, 0.5]] * 2, [[0], [1]], r"shape \(2,\); got int64 of shape \(2, 1\)"),
        ([[0.5, 0.5]] * 2, np.eye(2, dtype=int), r"got int64 of shape \(2, 2\)"),
        ([[0.5, 0.5]], 0, r"of shape \(\)"),
        ([[0.5, 0.5]], [-1], r"they are in \[-1, -1\]"),
        ([[0.5, 0.5]], [0.0], "integers"),
        ([[0.5, 0.5]], [2], r"in \[0, 2\)"),
    ],
)
def test_what_makes_no_sense_is_refused(probabilities, labels, message):
    for function in (
        metrics.negative_log_likelihood,
        metrics.expected_calibration_error,
        metrics.risk_coverage,
    ):
        with pytest.raises(ValueError, match=message):
            function(probabilities, labels)


def test_scores_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="kl_nats of shape"):
        metrics.ood_scores([[0.5, 0.5]], kl_nats=[1.0, 2.0])
    with pytest.raises(ValueError, match="kl_nats` must be finite"):
        metrics.ood_scores([[0.5, 0.5]], kl_nats=[np.nan])
    with pytest.raises(ValueError, match=r"`outside`.*at least one image, got \(0,\)"):
        metrics.ood_auroc([0.1], [])
    with pytest.raises(ValueError, match="`inside` must be finite"):
        metrics.ood_auroc([np.inf], [0.1])
    with pytest.raises(ValueError, match="`bins`"):
        metrics.reliability([[0.5, 0.5]], [0], bins=0)
