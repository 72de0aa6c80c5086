import importlib.util
import pathlib
import subprocess
import sys

import pytest

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"


def load_recipe(name):
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["train_cifar10", "train_cifar100", "train_svhn"])
def test_the_papers_settings_are_the_defaults(name):
    config = load_recipe(name).DEFAULTS
    config.check()
    config = config.resolved()
    assert (config.epochs, config.batch_size, config.learning_rate) == (200, 128, 0.1)
    assert (config.optimizer, config.schedule, config.augment) == ("sgd", "paper", "crop_flip")


def test_the_papers_numbers_of_anchors_on_cifar100():
    settings = load_recipe("train_cifar100").MODEL_SETTINGS
    assert settings["vgg_aib_qt"]["num_anchors"] == 50
    assert settings["wrn_aib_qt"]["num_anchors"] == 20


def test_a_wrong_model_names_the_nearest_and_leaves_no_folder(tmp_path):
    command = [
        sys.executable,
        str(RECIPES / "train_cifar10.py"),
        "--model=vgg_abi_qt",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "Did you mean 'vgg_aib_qt'" in done.stderr
    assert not (tmp_path / "run").exists()
