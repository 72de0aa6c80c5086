import numpy as np
import pytest

from aib_keras.data import ImageData, with_wrong_labels

COUNT, CLASSES = 5000, 5
EXAMPLES = ImageData(
    np.zeros((COUNT, 1, 1, 3), np.uint8),
    np.arange(COUNT, dtype=np.int32) % CLASSES,
    tuple("abcde"),
)


def wrong(share, seed=0):
    labels = with_wrong_labels(EXAMPLES, share, seed).labels
    assert labels.dtype == np.int32
    return labels, labels != EXAMPLES.labels


@pytest.mark.parametrize("share", [0, 0.2, 0.40009, 1])
def test_the_share_is_exact(share):
    labels, is_wrong = wrong(share)
    assert is_wrong.sum() == round(share * COUNT)
    assert labels.min() == 0
    assert labels.max() == CLASSES - 1


def test_every_other_class_is_as_likely():
    labels, is_wrong = wrong(1)
    table = np.zeros((CLASSES, CLASSES))
    np.add.at(table, (EXAMPLES.labels, labels), CLASSES / COUNT)
    np.testing.assert_array_equal(np.diag(table), 0)
    # Four standard deviations of a share of 1,000 draws.
    np.testing.assert_allclose(table[~np.eye(CLASSES, dtype=bool)], 0.25, atol=0.055)


def test_a_larger_share_contains_a_smaller_one_and_seeds_differ():
    some, is_wrong = wrong(0.2)
    more, _ = wrong(0.4)
    np.testing.assert_array_equal(more[is_wrong], some[is_wrong])
    _, elsewhere = wrong(0.2, seed=1)
    # A fifth of a fifth by chance.
    assert (is_wrong & elsewhere).mean() == pytest.approx(0.04, abs=0.01)


def test_the_draws_stay_what_they_are():
    # NumPy guarantees the bits of Philox.
    labels, is_wrong = wrong(0.001, seed=7)
    assert np.flatnonzero(is_wrong).tolist() == [1603, 1961, 2200, 3287, 4103]
    assert labels[is_wrong].tolist() == [4, 3, 2, 4, 1]


@pytest.mark.parametrize(
    ("share", "seed", "message"),
    [(1.1, 0, r"`share` must be a finite number in \[0, 1\]"), (0.5, -1, "`seed` must be")],
)
def test_bad_arguments_are_named(share, seed, message):
    with pytest.raises(ValueError, match=message):
        with_wrong_labels(EXAMPLES, share, seed)
