import dataclasses
import json
import shlex

import numpy as np
import pytest
from absl import app, flags

from aib_keras.experiments import TrainingConfig, cards, field_flags, results, train
from aib_keras.experiments.photo_settings import DEFAULTS
from aib_keras.training import FitConfig
from aib_keras.training.workdir import claim_workdir


def test_a_folder_is_the_same_with_a_slash_behind_it():
    assert TrainingConfig(dataset="birds/") == TrainingConfig(dataset="birds")
    assert TrainingConfig(dataset="/").dataset == "/"


def test_a_rate_of_the_backbone_is_for_training_all_layers():
    assert TrainingConfig(backbone_learning_rate=0.1).backbone_learning_rate == 0.1
    with pytest.raises(ValueError, match="Set `freeze` to 'nothing'"):
        TrainingConfig(backbone_learning_rate=0.1, freeze="backbone")


def test_defaults_are_the_papers_and_pass():
    config = TrainingConfig().resolved()
    assert (config.epochs, config.batch_size, config.learning_rate) == (200, 128, 0.1)
    assert (config.optimizer, config.schedule) == ("sgd", "steps")
    assert config.schedule_steps[:4] == ((0.0, 1e-3), (0.005, 1e-2), (0.01, 0.1), (0.015, 1.0))
    assert (config.weight_decay, config.anchors_learning_rate) == (5e-4, 1e-4)


def test_short_trainings_take_adam_unless_told_otherwise():
    config = TrainingConfig(epochs=10).resolved()
    assert (config.optimizer, config.learning_rate, config.schedule) == ("adam", 0.002, "cosine")
    config = TrainingConfig(epochs=10, optimizer="sgd", learning_rate=0.05).resolved()
    assert (config.optimizer, config.learning_rate, config.schedule) == ("sgd", 0.05, "steps")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "vgg_aib_qd", "vgg_aib_qt"),
        ("epochs", 0, "epochs"),
        ("batch_size", 1, "batch_size"),
        ("validation_examples", -1, "validation_examples"),
        ("train_examples", 0, "train_examples"),
        ("wrong_labels", -0.1, "wrong_labels"),
        ("wrong_labels", 1, "with 1 no label is right"),
        ("learning_rate", float("nan"), "learning_rate"),
        ("backbone_learning_rate", -0.1, "backbone_learning_rate"),
        ("augment", "mixup", "crop_flip"),
        ("schedule", "linear", "cosine"),
        ("optimizer", "lion", "adam"),
        ("precision", "float8", "mixed_bfloat16"),
        ("strategy", "tpu", "mirrored"),
        ("beta_warmup", (0.6, 0.1), "beta_warmup"),
        ("beta_warmup", ("early", 1), "beta_warmup"),
        ("momentum", 2, "momentum"),
        ("momentum", 1, r"momentum.*\[0, 1\)"),
        ("schedule", "steps", "needs `schedule_steps`"),
        ("data_dir", 5, "`data_dir` must be a path"),
        ("crop_pct", 0, "crop_pct"),
        ("crop_pct", 0.875, "needs `image_size`"),
        ("seed", 2**32, "seed"),
        ("schedule_steps", ((0.5, 1.0),), "increasing shares from 0"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_expected(field, value, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{field: value})


def test_workdir_of_another_configuration_is_refused_with_the_difference(tmp_path):
    workdir = tmp_path / "run"
    claim_workdir(workdir, TrainingConfig(seed=1))
    claim_workdir(workdir, TrainingConfig(seed=1))
    with pytest.raises(ValueError, match="seed: 1 there, 2 now"):
        claim_workdir(workdir, TrainingConfig(seed=2))


def test_workdir_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="not empty"):
        claim_workdir(tmp_path, TrainingConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_moved_data_do_not_block_a_resume(tmp_path):
    claim_workdir(tmp_path / "run", TrainingConfig(data_dir="/there"))
    claim_workdir(tmp_path / "run", TrainingConfig(data_dir="/here", jit=True))


def test_folders_of_versions_without_a_setting_can_be_resumed(tmp_path):
    claim_workdir(tmp_path / "run", TrainingConfig())
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    del content["wrong_labels"]
    path.write_text(json.dumps(content))
    claim_workdir(tmp_path / "run", TrainingConfig())
    with pytest.raises(ValueError, match=r"wrong_labels: 0.0 there, 0.2 now"):
        claim_workdir(tmp_path / "run", TrainingConfig(wrong_labels=0.2))


def test_folders_of_versions_with_other_names_can_be_resumed(tmp_path):
    """`validation_examples` was `held_out` in 0.1.0."""
    config = TrainingConfig(validation_examples=16).resolved()
    claim_workdir(tmp_path / "run", config)
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content["held_out"] = content.pop("validation_examples")
    path.write_text(json.dumps(content))
    claim_workdir(tmp_path / "run", config)
    assert TrainingConfig.from_json(content) == config
    with pytest.raises(ValueError, match="validation_examples: 16 there, 0 now"):
        claim_workdir(tmp_path / "run", TrainingConfig().resolved())

    result = {"held_out_error_last_epoch": 0.25, "config": content}
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    found = results.read_result(tmp_path / "run")
    assert cards.evaluated_split(found) == "validation"
    assert found["validation_error_last_epoch"] == 0.25
    assert found["config"] == json.loads(json.dumps(config.to_json()))


def test_numbers_of_numpy_and_paths_can_be_settings(tmp_path):
    config = TrainingConfig(
        seed=np.int64(3),
        learning_rate=np.float32(0.5),
        data_dir=tmp_path,
        dataset=tmp_path,
        image_size=np.int32(64),
        crop_pct=np.float32(0.875),
        wrong_labels=np.float32(0.25),
        beta_warmup=(np.float32(0.25), 0.5),
        schedule="steps",
        schedule_steps=((0, np.float32(1)), (0.5, 0.1)),
    )
    assert (config.seed, config.data_dir) == (3, str(tmp_path))
    json.dumps(config.to_json())


def test_the_test_data_do_not_choose_the_last_epoch(tmp_path):
    with pytest.raises(ValueError, match="`patience` 3 .* test data.*`validation_examples`"):
        train(TrainingConfig(patience=3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_with_patience_the_epochs_between_evaluations_decide(tmp_path):
    config = TrainingConfig(patience=3, validation_examples=100, validation_freq=5)
    claim_workdir(tmp_path / "run", config)
    with pytest.raises(ValueError, match="validation_freq"):
        claim_workdir(tmp_path / "run", dataclasses.replace(config, validation_freq=1))
    assert "--validation_freq=5" in cards.command(config)
    stalled, whole = (
        results.deciding_settings({"config": each.to_json()})
        for each in (config, dataclasses.replace(config, patience=None))
    )
    assert (stalled["validation_freq"], whole["validation_freq"]) == (5, None)
    assert stalled.keys() == whole.keys()
    without = dataclasses.replace(config, patience=None)
    claim_workdir(tmp_path / "other", without)
    claim_workdir(tmp_path / "other", dataclasses.replace(without, validation_freq=1))


def test_round_trip_through_json():
    config = TrainingConfig(epochs=60, settings={"width": 0.5}).resolved()
    assert TrainingConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ValueError, match="no setting 'epoch'. Did you mean 'epochs'"):
        TrainingConfig.from_json({"epoch": 3})


def test_the_docstring_lists_every_setting():
    for field in dataclasses.fields(TrainingConfig):
        assert f"{field.name}: {field.metadata['help'][:20]}" in TrainingConfig.__doc__


def parsed(*arguments, defaults=None):
    values = flags.FlagValues()
    defaults = defaults or TrainingConfig(seed=5)
    field_flags.define(defaults, values)
    values(["recipe", *arguments])
    return field_flags.read(defaults, values=values)


def test_settings_of_a_recipe_that_another_model_lacks_are_left_out():
    own = {"backbone_weights": "imagenet", "modulation": "mask"}
    defaults = TrainingConfig(model="efficientnet_lite0_aib_qt", settings=own)
    assert parsed(defaults=defaults).settings == own
    plain = parsed("--model=efficientnet_lite0", defaults=defaults)
    assert plain.settings == {"backbone_weights": "imagenet"}
    # What the user sets herself is refused with a reason, before any data are read.
    with pytest.raises(app.UsageError, match="vgg has no setting 'modulation'"):
        parsed("--model=vgg", "--set=modulation=noise", defaults=defaults)


def test_flags_of_every_kind():
    config = parsed(
        "--epochs=3",
        "--learning_rate=0.25",
        "--crop_to_box",
        "--augment=none",
        "--beta_warmup=0,0.5",
        "--schedule=steps",
        "--schedule_steps=0:1,0.5:0.1",
        "--width=0.5",
        "--set=modulation=mask",
        "--set=num_anchors=7",
        "--nojit",
    )
    assert config == TrainingConfig(
        seed=5,
        epochs=3,
        learning_rate=0.25,
        crop_to_box=True,
        augment="none",
        beta_warmup=(0.0, 0.5),
        schedule="steps",
        schedule_steps=((0.0, 1.0), (0.5, 0.1)),
        settings={"width": 0.5, "modulation": "mask", "num_anchors": 7},
        jit=False,
    )


def test_steps_that_an_earlier_version_ignored_are_left_out():
    content = {**TrainingConfig(schedule="cosine").to_json(), "schedule_steps": [[0, 1]]}
    assert TrainingConfig.from_json(content).schedule_steps == ()


def test_settings_without_effect_are_told():
    with pytest.raises(
        ValueError, match="are for the schedule 'steps', and `schedule` is 'cosine'"
    ):
        TrainingConfig(schedule="cosine", schedule_steps=((0, 1), (0.5, 0.1)))
    with pytest.warns(UserWarning, match="No effect with Adam: `weight_decay` 0.01. Set"):
        TrainingConfig(epochs=20, weight_decay=1e-2).resolved()
    with pytest.warns(UserWarning, match="No effect with Adam: `nesterov` True. Set"):
        FitConfig(nesterov=True).resolved()


def test_a_config_file_is_the_start_and_flags_count_more(tmp_path):
    path = tmp_path / "config.json"
    saved = TrainingConfig(epochs=7, seed=3, settings={"width": 0.5}).resolved()
    path.write_text(json.dumps(saved.to_json()))
    other = tmp_path / "fit.json"
    other.write_text(json.dumps(FitConfig().to_json()))
    with pytest.raises(app.UsageError, match="names neither the model nor the data"):
        parsed(f"--config={other}")
    config = parsed(f"--config={path}", "--seed=4", "--set=beta=0.1")
    assert config == dataclasses.replace(saved, seed=4, settings={"width": 0.5, "beta": 0.1})


def test_what_followed_from_the_optimiser_or_the_model_of_a_file_does_not_stay(tmp_path):
    path = tmp_path / "config.json"
    saved = TrainingConfig(model="vgg_aib_qt", epochs=200, seed=3).resolved()
    path.write_text(json.dumps(saved.to_json()))
    found = parsed(f"--config={path}", "--optimizer=adam").resolved()
    usual = TrainingConfig(model="vgg_aib_qt", epochs=200, seed=3, optimizer="adam").resolved()
    assert found == usual
    found = parsed(f"--config={path}", "--schedule=cosine").resolved()
    assert found == dataclasses.replace(saved, schedule="cosine", schedule_steps=())
    own = dataclasses.replace(saved, learning_rate=0.01, batch_size=32)
    path.write_text(json.dumps(own.to_json()))
    found = parsed(f"--config={path}", "--optimizer=adam").resolved()
    assert (found.learning_rate, found.batch_size, found.schedule) == (0.01, 32, "cosine")
    path.write_text(json.dumps(saved.to_json()))
    found = parsed(f"--config={path}", "--model=wrn_aib_qt").resolved()
    usual = TrainingConfig(model="wrn_aib_qt", epochs=200, seed=3).resolved()
    assert found == usual


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--batch_size=1", "--batch_size must be an integer of at least 2"),
        ("--model=vgg_aibqt", "Did you mean 'vgg_aib"),
        ("--beta_warmup=0.2,x", "--beta_warmup 0.2,x: expected numbers"),
        ("--set=width", "expected name=value"),
        ("--set=include_preprocessing=False", "has no setting 'include_preprocessing'"),
        ("--config=none.json", "none.json"),
    ],
)
def test_errors_name_flags(flag, message):
    with pytest.raises(app.UsageError, match=message):
        parsed(flag)


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(),
        TrainingConfig(epochs=12, seed=2, beta_warmup=(0.1, 0.3), settings={"modulation": "mask"}),
        TrainingConfig(
            dataset="cub50",
            epochs=31,
            image_size=80,
            crop_pct=0.8,
            crop_to_box=True,
            optimizer="sgd",
            weight_decay=0.0,
            settings={"width": 0.25, "mean": (0.5, 0.5, 0.5)},
        ),
    ],
    ids=["paper", "short", "birds"],
)
def test_the_command_of_a_card_makes_the_same_configuration(config):
    config = config.resolved()
    program, command, *arguments = shlex.split(cards.command(config))
    assert (program, command) == ("aib-keras", "train")
    assert parsed(*arguments, defaults=TrainingConfig()).resolved() == config


def test_the_command_of_photos_has_what_differs_from_its_defaults(tmp_path):
    config = dataclasses.replace(DEFAULTS, dataset=str(tmp_path), epochs=3, precision="float32")
    settings = {**DEFAULTS.settings, "map_beta": 0.1, "backbone_weights": "my weights.npz"}
    for changed in (
        config,
        dataclasses.replace(config, settings=settings),
        # It has no attention, and so no modulation.
        dataclasses.replace(
            config, model="efficientnet_lite0", settings={"backbone_weights": "imagenet"}
        ),
    ):
        program, command, *arguments = shlex.split(cards.command(changed))
        assert (program, command) == ("aib-keras", "photos")
        assert parsed(*arguments, defaults=DEFAULTS).resolved() == changed.resolved()
    # The precision is always there, because its default depends on the machine.
    expected = f"aib-keras photos --dataset={tmp_path} --epochs=3 --precision=float32"
    assert cards.command(config) == expected
    # Without ImageNet weights, which that command would begin with.
    changed = dataclasses.replace(config, settings={})
    program, command, *arguments = shlex.split(cards.command(changed))
    assert (program, command) == ("aib-keras", "train")
    assert parsed(*arguments, defaults=TrainingConfig()).resolved() == changed.resolved()
