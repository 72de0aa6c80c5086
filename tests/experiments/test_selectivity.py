import types

import numpy as np
import pytest

from aib_keras.experiments import selectivity


def model(modulation):
    return types.SimpleNamespace(attention=types.SimpleNamespace(modulation=modulation))


MAPS = np.random.default_rng(0).uniform(size=(5, 4, 4, 1))


def test_the_quantised_map_passes_if_there_is_one():
    found = {"attention": MAPS, "attention_quantized": np.full_like(MAPS, 0.25)}
    assert selectivity.share_that_passes(model("mask"), found) == 0.25
    assert selectivity.share_that_passes(model("noise"), {"attention": MAPS}) == MAPS.mean()


def test_all_features_pass_a_residual_map_or_none():
    assert selectivity.share_that_passes(model("residual"), {"attention": MAPS}) is None
    plain = types.SimpleNamespace(attention=None)
    assert selectivity.share_that_passes(plain, {"attention": MAPS}) is None


def test_maps_that_do_not_depend_on_the_image_are_alike():
    same = {"attention": np.repeat(MAPS[:1], 5, axis=0)}
    assert selectivity.similarity_of_images(same) == pytest.approx(1.0)
    apart = np.eye(4).reshape(4, 2, 2, 1)
    assert selectivity.similarity_of_images({"attention": apart}) == 0.0
    assert selectivity.similarity_of_images({"attention": apart[:1]}) is None


def test_nats_by_cell_are_means_over_the_images():
    cells = np.array([[[0.0, 1.0]], [[2.0, 5.0]]])[..., None]
    assert selectivity.nats_by_cell({"attention_nats": cells}) == (1.0, 3.0, 4.0)
    assert selectivity.nats_by_cell({"attention": cells}) is None
