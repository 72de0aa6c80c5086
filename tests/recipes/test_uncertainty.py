"""recipes/uncertainty.py on two small models."""

import json

import numpy as np
import pytest
from absl import app, flags
from small import untrained_run

# It makes two models and measures them.
pytestmark = pytest.mark.slow

SETTINGS = {"test_split": "test[:48]", "prediction_samples": 2}


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("uncertainty")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    untrained_run(folder / "dvib", model="vgg_dvib", **SETTINGS)
    untrained_run(folder / "plain", model="vgg", settings={"width": 0.03}, **SETTINGS)
    rng = np.random.default_rng(0)
    noise = {
        f"{kind}_{split}": values
        for split in ("train", "test")
        for kind, values in (
            ("x", rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)),
            ("y", np.arange(20) % 10),
        )
    }
    np.savez(folder / "noise.npz", **noise)
    return folder


def run(recipe, runs, *arguments):
    flags.FLAGS(["uncertainty", f"--runs={runs}", f"--ood={runs / 'noise.npz'}", *arguments])
    try:
        recipe.main([])
    finally:
        flags.FLAGS.unparse_flags()


def test_measures_each_training_once(recipe, runs, monkeypatch, capsys):
    run(recipe, runs)
    text = (runs / "uncertainty.md").read_text()
    assert text in capsys.readouterr().out
    assert "48 images of test[:48], 32x32 pixels. OOD: 20 of" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split(" | ")[:3] for row in rows] == [
        ["| `vgg_dvib`", "0", "deterministic"],
        ["| `vgg_dvib`", "0", "sampled"],
        ["| `vgg`", "0", "deterministic"],
    ]
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    for name in ("reliability", "risk_coverage", "information-dvib"):
        assert (runs / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    assert not (runs / "information-plain.png").exists()

    dvib, plain = json.loads((runs / "uncertainty.json").read_text())
    result = json.loads((runs / "dvib" / "result.json").read_text())
    found = dvib["predictions"]
    assert found["deterministic"]["error"] == pytest.approx(result["test_error_last_epoch"])
    assert found["deterministic"]["nll"] == pytest.approx(result["last_epoch"]["nll"], rel=1e-3)
    assert found["sampled"]["error"] == pytest.approx(result["test_error_last_epoch_sampled"])
    assert found["sampled"]["nll"] == pytest.approx(result["nll_sampled"], rel=1e-3)
    assert set(found["deterministic"]["ood_auroc"]) == {"maximum", "entropy", "kl"}
    right, wrong = (0 if bits is None else bits for bits in dvib["bits"]["mean"])
    error = found["deterministic"]["error"]
    nats = ((1 - error) * right + error * wrong) * np.log(2)
    assert nats == pytest.approx(result["last_epoch"]["kl_nats"], rel=1e-3)
    assert "bits" not in plain

    monkeypatch.setattr(recipe, "figures_of", None)
    run(recipe, runs)
    assert (runs / "uncertainty.md").read_text() == text


def test_other_questions_are_measured_anew(recipe, runs):
    run(recipe, runs, "--models=vgg", "--examples=10")
    text = (runs / "uncertainty.md").read_text()
    assert "10 images of test[:48], 32x32 pixels. OOD: 10 of" in text
    assert "vgg_dvib" not in text


def test_images_are_not_foreign_to_their_own_model(recipe, runs):
    run(recipe, runs, "--models=vgg", "--ood=cluttered_digits")
    (found,) = json.loads((runs / "uncertainty.json").read_text())
    assert "ood_auroc" not in found["predictions"]["deterministic"]


def test_a_model_that_is_not_there_is_told_with_those_that_are(recipe, runs):
    with pytest.raises(
        app.UsageError, match=r"no finished training of wrn. Finished there: vgg, vgg_dv"
    ):
        run(recipe, runs, "--models=vgg,wrn")
