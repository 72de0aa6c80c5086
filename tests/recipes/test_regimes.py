"""recipes/regimes.py on trainings of seconds."""

import json
import subprocess

import pytest
from absl import app, flags

from aib_keras.experiments import robustness, sweep
from aib_keras.explain.corruptions import STRENGTHS
from aib_keras.utils.files import write_json

SMALL = [
    "--sizes=32,64",
    "--wrong_labels=0,0.5",
    "--wrong_labels_examples=32",
    "--steps=4",
    "--batch_size=32",
    "--dataset=cluttered_digits",
]
# Of every training.
TINY = ["--width=0.03", "--augment=none", "--test_split=test[:32]"]


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("regimes")


def run(recipe, runs, *arguments, training_flags=TINY):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["regimes", f"--runs={runs}", *SMALL, *arguments])
    recipe.main(["regimes", *training_flags])


def read(runs, name="regimes.json"):
    return json.loads((runs / name).read_text())


def fake_training(command, stdout, stderr, env):
    """Leaves what a training leaves, with an error that follows from its command line."""
    del stdout, stderr, env
    given = dict(text.removeprefix("--").split("=", 1) for text in command[2:])
    workdir, seed = given["workdir"], int(given["seed"])
    examples, share = int(given["train_examples"]), float(given["wrong_labels"])
    stochastic = given["model"] != "vgg"
    result = {
        "model": given["model"],
        "dataset": given["dataset"],
        "seed": seed,
        "epochs": int(given["epochs"]),
        "train_examples": examples,
        "evaluated_on": "test[:32]",
        "evaluated_examples": 32,
        "test_error_last_epoch": 8 / examples + share / 2 + seed / 100,
        **({"test_error_last_epoch_sampled": 0.125} if stochastic else {}),
        "last_epoch": {"kl_nats": 5.0} if stochastic else {},
        "config": {
            "train_examples": examples,
            "wrong_labels": share,
            "epochs": int(given["epochs"]),
            "batch_size": int(given["batch_size"]),
            "learning_rate": float(given["learning_rate"]),
        },
    }
    write_json(f"{workdir}/result.json", result)
    return subprocess.CompletedProcess(command, 0)


def test_trains_with_equal_steps_and_tabulates_means_over_seeds(recipe, tmp_path, monkeypatch):
    def make_folder(command, **settings):
        [workdir] = [t.removeprefix("--workdir=") for t in command if t.startswith("--workdir=")]
        (tmp_path / workdir).mkdir()
        return fake_training(command, **settings)

    monkeypatch.setattr(sweep.subprocess, "run", make_folder)
    run(recipe, tmp_path, "--train", "--models=vgg,vgg_dvib", "--seeds=0,2")
    content = read(tmp_path)
    # 32 examples with right labels are in both tables, and were trained once.
    assert len(list(tmp_path.glob("*/result.json"))) == 2 * 2 * 3
    assert {row["train_examples"]: row["epochs"] for row in content["data"]} == {32: 4, 64: 2}
    assert {row["steps"] for row in content["data"] + content["wrong_labels"]} == {4}
    text = (tmp_path / "regimes.md").read_text()
    assert "after 4 steps: mean and standard deviation over the seeds (2)." in text
    assert "after 4 steps on 32 examples:" in text
    assert "| model |  | 32 | 64 |" in text
    assert "| `vgg` |  | 26.0 ± 1.4 | 13.5 ± 1.4 |" in text
    assert "| `vgg_dvib` | `predict_mc` | 12.5 ± 0.0 | 12.5 ± 0.0 |" in text
    assert "| model |  | 0 % wrong | 50 % wrong |" in text
    assert "| `vgg` |  | 26.0 ± 1.4 | 51.0 ± 1.4 |" in text
    assert (tmp_path / "regimes.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(sweep.subprocess, "run", None)
    run(recipe, tmp_path, "--train", "--models=vgg,vgg_dvib", "--seeds=0,2")
    assert (tmp_path / "regimes.md").read_text() == text

    # A table of what is finished has its columns in order, also if the first model lacks one.
    for seed in (0, 2):
        path = tmp_path / f"cluttered_digits-vgg-32-wrong0-seed{seed}" / "result.json"
        path.rename(path.with_name("later.json"))
    run(recipe, tmp_path, "--models=vgg,vgg_dvib", "--seeds=0,2")
    assert "| model |  | 32 | 64 |" in (tmp_path / "regimes.md").read_text()

    path = tmp_path / "cluttered_digits-vgg-64-wrong0-seed2" / "result.json"
    result = json.loads(path.read_text())
    write_json(path, {**result, "config": {**result["config"], "learning_rate": 1.0}})
    with pytest.raises(app.UsageError, match="do not compare, because they differ in learning_ra"):
        run(recipe, tmp_path, "--models=vgg,vgg_dvib", "--seeds=0,2")


def measurement(result, settings, data_dir):
    """Stands for `robustness.measure`."""
    del data_dir
    assert settings == robustness.Settings(16, (2.0, 8.0), pgd_steps=3, samples=5)
    common = {"label": robustness.label(result), "images": 16, "evaluated_on": "test", "clean": 4}
    corrupted = {**common, "wrong": dict.fromkeys(STRENGTHS, [4, 5, 6, 7, 8])}
    attacked = {**common, "epsilons": [2.0, 8.0], "wrong": {"FGSM": [8, 12], "PGD-3": [8, 16]}}
    return corrupted, [{**attacked, "samples": samples} for samples in (0, 5)]


def test_measures_trainings_and_published_weights(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "measure", measurement)
    config = {"seed": 0, "wrong_labels": 0.2, "settings": {"width": 0.1}}
    result = {"model": "vgg_dvib", "dataset": "cluttered_digits", "train_examples": 6000}
    for seed in (0, 1):
        folder = tmp_path / "trained" / str(seed)
        folder.mkdir(parents=True)
        trained = {**result, "seed": seed, "config": {**config, "seed": seed}}
        write_json(folder / "result.json", trained)
    published = {
        **result,
        "seed": 0,
        "config": {**config, "wrong_labels": 0},
        "published": "vgg_dvib/digits",
    }
    (tmp_path / "published").mkdir()
    write_json(tmp_path / "published" / "result.json", published)
    run(
        recipe,
        tmp_path,
        f"--workdirs={tmp_path / 'trained'},{tmp_path / 'published'}",
        *("--examples=16", "--epsilons=8,2", "--pgd_steps=3", "--samples=5"),
    )
    content = read(tmp_path)
    assert content["data"] == content["wrong_labels"] == []
    labels = [each["label"] for each in content["corruptions"]]
    assert labels == [*["vgg_dvib, 6,000 images, 20 % wrong labels"] * 2, "vgg_dvib/digits"]
    text = (tmp_path / "regimes.md").read_text()
    assert (
        "| `vgg_dvib, 6,000 images, 20 % wrong labels` | mean | FGSM | 25.0 ± 0.0 | 50.0 ± 0.0 | "
        "75.0 ± 0.0 |" in text
    )
    assert "| `vgg_dvib/digits` | 5 samples | PGD-3 | 25.0 (10.2–49.5) | 50.0 (28.0–72" in text
    assert "| `vgg_dvib/digits` | contrast | 25.0 (10.2–49.5) | 25.0 (10.2–49.5) | 31.2" in text
    assert (tmp_path / "regimes.png").read_bytes().startswith(b"\x89PNG")


def test_trainings_that_do_not_belong_together_are_refused(recipe, tmp_path):
    result = {"model": "vgg", "dataset": "cluttered_digits", "train_examples": 64}
    for name, width, seed in (("first", 1, 0), ("second", 2, 1), ("again/first", 1, 0)):
        (tmp_path / name).mkdir(parents=True)
        content = {**result, "seed": seed, "config": {"settings": {"width": width}}}
        write_json(tmp_path / name / "result.json", content)
    with pytest.raises(app.UsageError, match="first and .*second do not compare, .* in settings"):
        run(recipe, tmp_path / "runs", f"--workdirs={tmp_path}")
    both = f"--workdirs={tmp_path / 'first'},{tmp_path / 'again'}"
    with pytest.raises(app.UsageError, match="are both vgg, 64 images with seed 0"):
        run(recipe, tmp_path / "runs", both)
    with pytest.raises(app.UsageError, match="trained on cluttered_digits, not on --dataset=cifar"):
        run(recipe, tmp_path / "runs", f"--workdirs={tmp_path / 'first'}", "--dataset=cifar10")


@pytest.mark.slow
def test_small_trainings_make_the_tables_and_resume(recipe, tmp_path, monkeypatch):
    asked = ["--train", "--models=vgg,vgg_dvib", "--seeds=0", "--sizes=32"]
    run(recipe, tmp_path, *asked)
    content = read(tmp_path)
    assert [row["model"] for row in content["data"]] == ["vgg", "vgg_dvib"]
    assert [row["wrong_labels"] for row in content["wrong_labels"]] == [0, 0.5, 0, 0.5]
    assert content["data"][1]["nats"][0] > 0
    configs = [json.loads(path.read_text()) for path in tmp_path.glob("*/config.json")]
    assert {config["wrong_labels"] for config in configs} == {0, 0.5}
    assert {config["epochs"] for config in configs} == {4}
    assert {config["optimizer"] for config in configs} == {"adam"}
    monkeypatch.setattr(sweep.subprocess, "run", None)
    run(recipe, tmp_path, *asked)
    assert read(tmp_path) == content

    workdir = tmp_path / "cluttered_digits-vgg_dvib-32-wrong0.5-seed0"
    small = ["--examples=8", "--epsilons=8", "--pgd_steps=2", "--samples=1"]
    run(recipe, tmp_path, *asked, f"--workdirs={workdir}", *small)
    measured = read(tmp_path)
    assert measured["data"] == content["data"]
    [corrupted], attacked = measured["corruptions"], measured["attacks"]
    assert corrupted["label"] == "vgg_dvib, 32 images, 50 % wrong labels"
    assert [each["samples"] for each in attacked] == [0, 1]
    assert (workdir / "robustness-attacks-1-samples.json").exists()


def test_steps_of_the_documented_command_are_equal(recipe):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["regimes"])
    by_data, by_labels = recipe.plans()
    assert len(by_data) == 16
    assert len(by_labels) == 12
    for (_, examples, _), epochs in {**by_data, **by_labels}.items():
        assert epochs * (examples // 100) == 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes=96"], "--steps=4 is not a multiple of the 3 steps per epoch that 96 examples"),
        (["--sizes=few"], "--sizes: expected integers, got 'few'"),
        (["--wrong_labels=0,20"], "--wrong_labels=20: expected shares from 0 to below 1"),
        (["--models=vg"], "Did you mean"),
        ([], "has no training of this recipe. Train with --train"),
    ],
)
def test_bad_flags_are_errors_before_any_training(recipe, tmp_path, arguments, message):
    with pytest.raises(app.UsageError, match=message):
        run(recipe, tmp_path, *arguments)
