"""Errors on corrupted and attacked images, of models for which they are known."""

import dataclasses
import os
import shutil
import time

import keras
import numpy as np
import pytest

from aib_keras import data, explain
from aib_keras.experiments import load_evaluation, robustness, robustness_tables
from aib_keras.utils.files import read_json


class Marked:
    """A model that is right unless the attack that marks an image is one that it falls for.

    Args:
        falls_at: For each image the epsilons that it falls for; 0 stands for no attack.
    """

    def __init__(self, falls_at):
        self.falls_at = falls_at

    def explain(self, images):
        wrong = [int(mark) in self.falls_at[int(index)] for index, mark in images[:, 0, 0, :2]]
        return {"logits": np.eye(2)[np.array(wrong, int)]}


def marking(calls):
    def attack(model, images, labels, epsilon, **settings):
        calls.append((len(images), epsilon, settings))
        images = images.astype("float32")
        images[:, 0, 0, 1] = epsilon
        return images

    return attack


def test_an_image_that_fell_stays_down_and_is_not_attacked_again(monkeypatch):
    fgsm, pgd = [], []
    monkeypatch.setattr(robustness.explain, "fgsm", marking(fgsm))
    monkeypatch.setattr(robustness.explain, "pgd", marking(pgd))
    model = Marked([{0}, {2}, {2, 4}, {4}, {}])
    images = np.zeros((5, 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = range(5)
    marked = data.ImageData(images, np.zeros(5, np.int32), ("right", "wrong"))
    found = robustness.attacks(model, marked, (1, 2, 4), pgd_steps=7)
    assert found["clean"] == 1
    assert found["wrong"] == {"FGSM": [1, 3, 4], "PGD-7": [1, 3, 4]}
    assert (found["stochastic"], found["samples"], found["epsilons"]) == (False, 0, [1, 2, 4])
    assert [call[:2] for call in pgd] == [(4, 1), (4, 2), (2, 4)]
    assert pgd[0][2] == {"steps": 7, "samples": 0, "seed": 0}
    assert "steps" not in fgsm[0][2]


class Noisy:
    """A model whose samples are wrong where noise, drawn by the place of an image, is high."""

    def predict_mc(self, images, samples, seed):
        wrong = np.random.default_rng(seed).random(len(images)) > 0.7
        return {"logits": np.eye(2)[wrong.astype(int)]}


def test_noise_of_samples_is_no_success_of_an_attack(monkeypatch):
    for name in ("fgsm", "pgd"):
        monkeypatch.setattr(robustness.explain, name, lambda model, images, *_, **__: images)
    images = np.zeros((50, 1, 1, 3), np.uint8)
    examples = data.ImageData(images, np.zeros(50, np.int32), ("right", "wrong"))
    found = robustness.attacks(Noisy(), examples, (1, 2, 4), pgd_steps=2, samples=3)
    assert 0 < found["clean"] < 50
    for wrong in found["wrong"].values():
        assert wrong == [found["clean"]] * 3


@pytest.mark.slow
def test_a_model_with_a_bottleneck_is_measured_once_through_mean_and_samples(
    small_run, tmp_path, monkeypatch
):
    shutil.copytree(small_run, tmp_path / "run")
    result = {**read_json(small_run / "result.json"), "workdir": str(tmp_path / "run")}
    model = keras.saving.load_model(small_run / "model.keras")
    examples = load_evaluation(result).take(8)
    settings = robustness.Settings(8, (16,), pgd_steps=1, samples=1)
    corrupted, attacked = robustness.measure(result, settings)

    right = model.explain(examples.images)["logits"].argmax(axis=-1) == examples.labels
    assert corrupted["clean"] == attacked[0]["clean"] == np.sum(~right)
    jpeg = model.explain(explain.Corruption("jpeg", 2)(examples.images))["logits"]
    assert corrupted["wrong"]["jpeg"][1] == np.sum(jpeg.argmax(axis=-1) != examples.labels)
    assert {len(counts) for counts in corrupted["wrong"].values()} == {5}
    assert [(each["samples"], each["images"]) for each in attacked] == [(0, 8), (1, 8)]
    for each in attacked:
        assert all(each["clean"] <= wrong <= 8 for [wrong] in each["wrong"].values())

    loads = []
    load = keras.saving.load_model
    monkeypatch.setattr(keras.saving, "load_model", lambda *a: loads.append(a) or load(*a))
    assert robustness.measure(result, settings) == (corrupted, attacked)
    without_samples = dataclasses.replace(settings, samples=0)
    assert robustness.measure(result, without_samples) == (corrupted, attacked[:1])
    assert not loads
    # A newer model in the same place.
    later = time.time() + 10
    os.utime(tmp_path / "run" / "model.keras", (later, later))
    robustness.measure(result, without_samples)
    assert len(loads) == 1


def test_tables_have_intervals_of_one_model_and_deviations_of_seeds():
    def corrupted(label, wrong):
        kinds = ("gaussian_noise", "gaussian_blur", "contrast", "jpeg")
        return {
            "label": label,
            "images": 10,
            "evaluated_on": "test",
            "clean": 0,
            "wrong": {kind: [wrong] * 5 for kind in kinds},
        }

    def attacked(label, samples, wrong):
        return {
            "label": label,
            "images": 10,
            "evaluated_on": "test",
            "clean": 0,
            "samples": samples,
            "epsilons": [1.0, 8.0],
            "wrong": {"FGSM": [wrong, 10]},
        }

    one, *two = corrupted("one", 5), corrupted("two", 4), corrupted("two", 6)
    lines = robustness_tables.corruptions([one, *two])
    assert "10 images of test" in lines[0]
    # Wilson's interval of 5 of 10.
    cells = " | ".join(["50.0 (23.7–76.3)"] * 5)
    assert f"| `one` | gaussian noise | 0.0 (0.0–27.8) | {cells} |" in lines
    cells = " | ".join(["50.0 ± 14.1"] * 5)
    assert f"| `two` | jpeg | 0.0 ± 0.0 | {cells} |" in lines

    attacks = [attacked("one", 0, 5), attacked("one", 4, 2), attacked("plain", 0, 5)]
    lines = robustness_tables.attacks(attacks)
    assert "| model | through | attack | none | 1/255 | 8/255 |" in lines
    assert lines[-2:] == [
        "| `one` | 4 samples | FGSM | 0.0 (0.0–27.8) | 20.0 (5.7–51.0) | 100.0 (72.2–100.0) |",
        "| `plain` | mean | FGSM | 0.0 (0.0–27.8) | 50.0 (23.7–76.3) | 100.0 (72.2–100.0) |",
    ]

    *kinds, fgsm = robustness_tables.panels([one, *two], attacks)
    assert len(kinds) == 4
    assert kinds[0]["lines"]["two"] == {
        "0": [0.0, 0.0],
        **{str(s): [0.4, 0.6] for s in range(1, 6)},
    }
    assert list(fgsm["lines"]) == ["one", "one, through samples", "plain"]
    assert fgsm["lines"]["one"] == {"0": [0.0], "1": [0.5], "8": [1.0]}
