import math

import numpy as np
import pytest

from aib_keras import metrics, plots, zoo

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
    # As numpy's histograms: the last bin has its upper end.
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
        ({"kl_nats": np.zeros(3)}, [0, 1], r"each image.*\(3,\)"),
        ({"kl_nats": np.array([0, np.nan])}, [0, 1], "finite"),
        ({}, [0, 2], r"in \[0, 2\)"),
        ({}, [0.0, 1.0], "integers"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, labels, message):
    explanation = {"logits": np.eye(2), "kl_nats": np.zeros(2), **changes}
    with pytest.raises(ValueError, match=message):
        metrics.information(explanation, labels)


def test_a_model_without_a_bottleneck_is_told_of():
    with pytest.raises(ValueError, match=r"lacks kl_nats.*vgg_dvib"):
        metrics.information({"logits": np.eye(2), "attention": np.zeros((2, 4, 4, 1))}, [0, 1])


def test_every_model_with_a_bottleneck_tells_its_information():
    """Also the one without a map, whose `explain` raises."""
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("uint8")
    attentive = zoo.vgg_aib(width=0.03, latent_dim=4)
    found, expected = attentive.information(images, batch_size=2), attentive.explain(images)
    assert set(found) == {"logits", "kl_nats"}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5)
    plain = zoo.vgg_dvib(width=0.03, latent_dim=4)
    found = plain.information(images)
    assert (found["logits"].shape, found["kl_nats"].shape) == ((5, 10), (5,))
    np.testing.assert_allclose(found["logits"], plain.predict(images, verbose=0), rtol=1e-5)
    # At the start about 4.5 nats a dimension.
    assert 10 < found["kl_nats"].min() < found["kl_nats"].max() < 30


def test_the_figure_draws_all_classes_on_one_scale():
    explanation = {"logits": np.eye(3)[[0, 1, 2, 0]], "kl_nats": np.arange(4.0)}
    found = metrics.information(explanation, [0, 1, 2, 2], bins=4)
    figure = plots.information_figure(
        found.edges, found.count, found.mean, ("cat", "dog", "bird"), "a model"
    )
    meshes = [axis.collections[0] for axis in figure.axes if axis.get_title()]
    assert [mesh.get_clim() for mesh in meshes] == [(0, 100)] * 2
    above = figure.axes[0]
    assert above.get_xlabel() == "information in z [bits]"
    assert "3 images, mean 1.44 bits" in above.get_legend().get_texts()[0].get_text()
