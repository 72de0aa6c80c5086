"""Consistency of a stub model that reads its maps and classes from the pixels."""

import numpy as np
import pytest
from scipy import stats

from aib_keras.metrics import consistency, map_similarity


class Stub:
    """Returns the map and the class that are in the pixels, and records the batch sizes."""

    def __init__(self):
        self.seen = []

    def explain(self, images, batch_size):
        del batch_size
        self.seen.append(len(images))
        maps = images[..., :1].astype(np.float32) / 255
        return {"logits": np.eye(256)[images[:, 0, 0, 1]], "attention": maps, "doubled": 2 * maps}


def images_of(maps, classes=0):
    images = np.zeros((len(maps), 1, 2, 3), np.uint8)
    images[:, 0, :, 0] = maps
    images[:, 0, 0, 1] = classes
    return images


def to(maps, classes=0):
    """Returns a perturbation that gives the images of a data set these maps and classes."""
    perturbed = images_of(maps, classes)
    return lambda images, first: perturbed[first : first + len(images)]


def score(before, after, model=None, classes=0, **arguments):
    model = model or Stub()
    return consistency(model, images_of(before), to(after, classes), **{"verbose": 0, **arguments})


def test_equal_maps_are_consistent_at_every_threshold_below_1():
    found = score([(3, 4)] * 5, [(3, 4)] * 5)
    assert found.count == 5
    np.testing.assert_array_equal(found.similarities, 1)
    np.testing.assert_array_equal(found.scores, found.thresholds < 1)
    assert len(found.thresholds) == 51
    for named in (0.85, 0.9, 0.95):
        score_there, (low, high) = found.at(named)
        # Wilson's interval of 5 out of 5: 5 / (5 + z**2) is its lower end.
        assert (score_there, high) == (1.0, pytest.approx(1.0))
        assert low == pytest.approx(5 / (5 + stats.norm.ppf(0.975) ** 2))


def test_only_directions_count():
    found = score([(30, 40)] * 2, [(60, 80)] * 2)
    np.testing.assert_allclose(found.similarities, 1, rtol=1e-12)


def test_orthogonal_maps_are_inconsistent():
    found = score([(5, 0)] * 5, [(0, 7)] * 5)
    np.testing.assert_array_equal(found.similarities, 0)
    np.testing.assert_array_equal(found.scores, 0)


def test_a_cosine_of_0_6_counts_below_it_and_not_at_it_or_above():
    found = score([(10, 0)], [(3, 4)], thresholds=[0.59, 0.6, 0.61])
    assert found.similarities[0] == pytest.approx(0.6)
    # Above means above; the rounding of the maps to float32 is far below these steps.
    assert found.scores[[0, 2]].tolist() == [1, 0]
    exact = consistency(
        Stub(), images_of([(10, 0)]), to([(0, 9)]), thresholds=[-0.01, 0.0, 0.01], verbose=0
    )
    assert exact.scores.tolist() == [1, 0, 0]


def test_images_whose_class_changes_are_left_out_and_counted():
    after = [(10, 0), (0, 10), (0, 10), (10, 0)]
    found = score([(10, 0)] * 4, after, classes=[0, 0, 1, 2])
    assert found.unchanged.tolist() == [True, True, False, False]
    assert found.count == 2
    assert found.similarities.tolist() == [1, 0, 0, 1]
    assert found.at(0.9)[0] == 0.5


def test_there_is_no_score_where_every_class_changed():
    found = score([(10, 0)] * 3, [(10, 0)] * 3, classes=[1, 2, 3])
    assert found.count == 0
    assert np.isnan(found.scores).all()
    assert np.isnan(found.intervals).all()


def test_the_interval_is_that_of_a_proportion():
    """For 300 of 400 images, 1.96 standard errors are 4.2 points to each side."""
    after = [(10, 0)] * 300 + [(0, 10)] * 100
    found = score([(10, 0)] * 400, after)
    (low, high) = found.at(0.9)[1]
    assert (low, high) == (pytest.approx(0.7053, abs=1e-4), pytest.approx(0.7899, abs=1e-4))
    assert (found.intervals[:, 0] <= found.scores).all()
    assert (found.scores <= found.intervals[:, 1]).all()


def test_no_more_than_a_batch_is_perturbed_at_a_time():
    rng = np.random.default_rng(0)
    before, after = rng.integers(1, 256, (2, 1100, 2))
    model = Stub()
    found = score(before, after, model, classes=np.arange(1100) % 2)
    # All originals at once, which are in memory anyway, and then one batch after the other.
    assert model.seen == [1100, 256, 256, 256, 256, 76]
    np.testing.assert_allclose(found.similarities, map_similarity(before, after), rtol=1e-5)
    assert found.count == 550
    model = Stub()
    score(before, after, model, batch_size=600)
    assert model.seen == [1100, 600, 500]


def test_an_explanation_of_the_originals_can_be_given():
    rng = np.random.default_rng(0)
    before, after = rng.integers(1, 256, (2, 30, 2))
    found = score(before, after)
    model = Stub()
    original = model.explain(images_of(before), batch_size=30)
    model.seen.clear()
    again = score(before, after, model, original=original)
    assert model.seen == [30]
    np.testing.assert_array_equal(again.similarities, found.similarities)
    np.testing.assert_array_equal(again.intervals, found.intervals)


def test_a_data_set_is_scored_batch_by_batch():
    before, after = (
        [(3, 4), (0, 5), (5, 0), (1, 1), (2, 0)],
        [(4, 3), (5, 0), (5, 1), (2, 2), (0, 2)],
    )
    model = Stub()
    batches = [(images_of(before[i : i + 2]), np.zeros(len(before[i : i + 2]))) for i in (0, 2, 4)]
    found = consistency(model, iter(batches), to(after, [0, 1, 0, 0, 1]), verbose=0)
    expected = score(before, after, classes=[0, 1, 0, 0, 1])
    np.testing.assert_array_equal(found.similarities, expected.similarities)
    np.testing.assert_array_equal(found.unchanged, expected.unchanged)
    assert model.seen == [2, 2, 2, 2, 1, 1]
    with pytest.raises(ValueError, match="no images"):
        consistency(model, iter([]), to(after), verbose=0)
    with pytest.raises(ValueError, match="`original` is for an array"):
        consistency(model, iter(batches), to(after), original={}, verbose=0)


def test_the_map_can_be_chosen():
    found = score([(10, 0)], [(3, 4)])
    other = score([(10, 0)], [(3, 4)], map_name="doubled")
    np.testing.assert_allclose(other.similarities, found.similarities)


def test_maps_of_zeros():
    zero, one = np.zeros((1, 2, 2, 1)), np.ones((1, 2, 2, 1))
    assert map_similarity(zero, zero).tolist() == [1]
    assert map_similarity(zero, one).tolist() == [0]
    assert map_similarity(-one, one).tolist() == [-1]
    assert np.isnan(map_similarity(one, one * np.nan)).all()


def test_progress_is_shown(capsys):
    score([(3, 4)] * 5, [(3, 4)] * 5, verbose=1)
    assert "5/5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"map_name": "attention_quantized"}, "no 'attention_quantized'; it has attention, doub"),
        ({"thresholds": [0.9, 90]}, r"numbers in \[-1, 1\]"),
        ({"thresholds": []}, r"numbers in \[-1, 1\]"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"map_name": "atention"}, "Did you mean 'attention'"),
        ({"thresholds": [np.nan]}, r"numbers in \[-1, 1\]"),
        (
            {"original": {"logits": np.zeros((3, 2)), "attention": np.zeros((3, 1, 2, 1))}},
            "these 5 images, but its 'logits' has 3 rows",
        ),
        (
            {"original": {"logits": np.zeros((5, 2)), "attention": np.full((5, 1, 2, 1), np.nan)}},
            r"attention\[0\] has values that are not finite",
        ),
        (
            {"original": {"logits": np.zeros((5, 2)), "attention": np.zeros((5, 1, 1, 1))}},
            r"shapes \(5, 1, 1, 1\) and \(5, 1, 2, 1\)",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        score([(3, 4)] * 5, [(3, 4)] * 5, **arguments)


def test_maps_of_perturbed_images_that_are_not_finite_are_errors():
    class Diverging(Stub):
        def explain(self, images, batch_size):
            found = super().explain(images, batch_size)
            found["attention"][images[..., 1:2] == 7] = np.nan
            return found

    with pytest.raises(ValueError, match=r"attention\[3\]"):
        score([(3, 4)] * 5, [(3, 4)] * 5, Diverging(), classes=[0, 0, 0, 7, 0], batch_size=2)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="no images"):
        score(np.zeros((0, 2)), np.zeros((0, 2)))


def test_other_thresholds_and_shapes_are_errors():
    found = score([(3, 4)] * 5, [(3, 4)] * 5, thresholds=[0.9])
    with pytest.raises(ValueError, match=r"no score at 0.8: expected one of \[0.9\]"):
        found.at(0.8)
    with pytest.raises(ValueError, match=r"shapes \(1, 2\) and \(2, 2\)"):
        map_similarity(np.ones((1, 2)), np.ones((2, 2)))
