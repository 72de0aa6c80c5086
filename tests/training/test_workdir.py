"""A folder belongs to one training: to its configuration, its model and its examples."""

import keras
import numpy as np
import pytest
from small import small_classifier

from aib_keras import data
from aib_keras.models import attach
from aib_keras.training import FitConfig
from aib_keras.training.workdir import check_workdir, claim_training

LABELS = np.arange(32) % 10


def batches(labels=LABELS):
    images = np.zeros((len(labels), 32, 32, 3), "uint8")
    return data.batches_of(data.ImageData(images, labels.astype("int32"), "0123456789"), 8)


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        ({"modulation": "noise"}, LABELS, "IBAttention: modulation 'mask' there, 'noise' now"),
        ({"beta": 0.5}, LABELS, "VariationalEncoder: beta 0.01 there, 0.5 now"),
        ({"latent_dim": 5}, LABELS, "VariationalEncoder: latent_dim 4 there, 5 now"),
        ({}, LABELS[:30], "32 examples there, 30 now"),
        ({}, LABELS[::-1], "other labels there"),
    ],
)
def test_another_model_or_other_examples_are_refused(tmp_path, model, labels, message):
    claim_training(tmp_path, small_classifier(), batches())
    # The same again, whose layers have other names.
    claim_training(tmp_path, small_classifier(), batches())
    with pytest.raises(ValueError, match=rf"belongs to another training \({message}\). Choose"):
        claim_training(tmp_path, small_classifier(**model), batches(labels))


def test_a_url_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match="`workdir` must be a local path, got the URL 'gs://b/run'"
    ):
        check_workdir("gs://b/run", FitConfig())
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_layers_of_ours_is_known_by_its_weights(tmp_path):
    def model(units):
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])

    claim_training(tmp_path, model(3), [None] * 4)
    claim_training(tmp_path, model(3), [None] * 4)
    with pytest.raises(ValueError, match="a model of 15 weights there, a model of 20 weights now"):
        claim_training(tmp_path, model(4), [None] * 4)
    with pytest.raises(ValueError, match="4 batches there, 5 now"):
        claim_training(tmp_path, model(3), [None] * 5)


def test_a_model_with_attention_is_not_one_without(tmp_path):
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv")])
    claim_training(tmp_path, backbone, [None])
    with pytest.raises(ValueError, match="a model of 112 weights there"):
        claim_training(tmp_path, attach(backbone, "conv", 2), [None])
