import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["train_cifar10", "train_cifar100", "train_svhn"])
def test_the_papers_settings_are_the_defaults(name, load_recipe):
    config = load_recipe(name).DEFAULTS
    config = config.resolved()
    assert (config.epochs, config.batch_size, config.learning_rate) == (200, 128, 0.1)
    assert (config.optimizer, config.schedule, config.augment) == ("sgd", "steps", "crop_flip")


def test_the_papers_settings_on_cub_are_the_defaults(load_recipe):
    config = load_recipe("train_cub").DEFAULTS
    config = config.resolved()
    assert (config.epochs, config.batch_size, config.learning_rate) == (200, 16, 1e-4)
    assert (config.optimizer, config.schedule, config.augment) == (
        "adam",
        "exponential",
        "crop_flip",
    )
    assert (config.image_size, round(config.image_size / config.crop_pct)) == (224, 256)
    assert config.crop_to_box
    assert config.prediction_samples == 12


def test_the_papers_learning_rate_halves_every_eighth_of_the_training(load_recipe):
    stages = load_recipe("train_cifar10").DEFAULTS.resolved().schedule_steps
    # After the warm-up of the first three epochs of 200.
    assert stages[3:] == (
        (0.015, 1.0),
        (0.125, 0.5),
        (0.25, 0.25),
        (0.375, 0.125),
        (0.5, 0.0625),
        (0.625, 0.03125),
        (0.75, 0.015625),
        (0.875, 0.0078125),
    )


def test_the_papers_numbers_of_anchors_on_cifar100(load_recipe):
    settings = load_recipe("train_cifar100").MODEL_SETTINGS
    assert settings["vgg_aib_qt"]["num_anchors"] == 50
    assert settings["wrn_aib_qt"]["num_anchors"] == 20


@pytest.mark.slow
def test_a_wrong_model_names_the_nearest_and_leaves_no_folder(tmp_path, recipe_path):
    command = [
        sys.executable,
        recipe_path("train_cifar10"),
        "--model=vgg_abi_qt",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "Did you mean 'vgg_aib_qt'" in done.stderr
    assert not (tmp_path / "run").exists()
