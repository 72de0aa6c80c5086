"""recipes/ablate.py on two trainings of seconds, each in a process of its own."""

import json

import numpy as np
import pytest
from absl import app, flags

from aib_keras.experiments import sweep

SMALL = ["--width=0.03", "--train_split=train[:96]", "--epochs=1", "--batch_size=32"]


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("ablate")


def run(recipe, runs, *arguments, extra=SMALL):
    own = [
        f"--runs={runs}",
        "--dataset=cluttered_digits",
        "--latent_dim=4",
        "--validation_examples=32",
    ]
    flags.FLAGS(["ablate", *own, "--around=latent_dim=4", "--num_anchors=", *arguments])
    try:
        recipe.main(["ablate", *extra])
    finally:
        flags.FLAGS.unparse_flags()


@pytest.mark.slow
def test_varies_a_setting_and_draws_it(recipe, tmp_path, monkeypatch, capsys):
    run(recipe, tmp_path, "--beta=0,0.01")
    # The middle of both settings is one training.
    assert "2 of 2" in capsys.readouterr().out
    rows = json.loads((tmp_path / "ablation.json").read_text())
    expected = [("beta", 0.0), ("beta", 0.01), ("latent_dim", 4)]
    assert [(row["setting"], row["value"]) for row in rows] == expected
    assert {**rows[1], "setting": "latent_dim", "value": 4} == rows[2]
    text = (tmp_path / "ablation.md").read_text()
    assert "32 images of the last 32 of train[:96], held out" in text
    bits = rows[1]["kl_nats"] / np.log(2)
    assert f"| beta | **0.01** | 0 | {100 * rows[1]['error']:.2f} |" in text
    assert f"| {bits:.2f} |" in text
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")
    configs = [json.loads(path.read_text()) for path in tmp_path.glob("*/config.json")]
    assert {config["settings"]["beta"] for config in configs} == {0.0, 0.01}
    assert {config["settings"]["latent_dim"] for config in configs} == {4}

    # The same command again starts no process.
    monkeypatch.setattr(sweep.subprocess, "run", None)
    run(recipe, tmp_path, "--beta=0,0.01")
    assert (tmp_path / "ablation.md").read_text() == text

    # What differs in more than the varied settings is not put into one figure.
    path = next(tmp_path.glob("*beta0-*/result.json"))
    result = json.loads(path.read_text())
    result["config"]["epochs"] = 2
    path.write_text(json.dumps(result))
    with pytest.raises(app.UsageError, match="differ in epochs"):
        run(recipe, tmp_path, "--beta=0,0.01")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=vgg_abi"], "Did you mean 'vgg_aib'"),
        (["--beta=low"], "--beta: expected numbers, got 'low'"),
        (["--num_anchors=2.5"], "--num_anchors: expected integers"),
        (["--around=width=0.5"], "--around=width=0.5: expected name=value of beta"),
        (["--beta=", "--latent_dim="], "Nothing to vary"),
        (["--notrain"], "no finished training"),
    ],
)
def test_what_makes_no_sense_stops_before_any_training(recipe, tmp_path, arguments, message):
    with pytest.raises(app.UsageError, match=message):
        run(recipe, tmp_path, *arguments)
    assert not list(tmp_path.iterdir())
