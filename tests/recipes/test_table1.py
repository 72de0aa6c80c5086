"""recipes/table1.py: the table of what is there, and the trainings that it starts."""

import os
import subprocess
import sys

import numpy as np
import pytest
from absl import app, flags

from aib_keras import zoo
from aib_keras.experiments import sweep


@pytest.fixture(scope="module")
def table1(load_recipe):
    return load_recipe("table1")


def test_every_figure_has_its_model_in_the_zoo(table1):
    for dataset in table1.RECIPES:
        assert set(table1.rows(dataset)) <= set(zoo.list_models())
    assert table1.rows("caltech_birds2011") == [
        "vgg",
        "vgg_gap",
        "vgg_pan",
        "vgg_dvib",
        "wrn50_2",
        "vgg_att2",
        "vgg_att3",
        "vgg16_aib",
        "vgg16_aib_qt",
        "wrn50_2_aib",
        "wrn50_2_aib_qt",
    ]
    assert {len(figures) for figures in table1.PAPER.values()} == {len(table1.COLUMNS)}
    assert len(table1.rows("cifar10")) == 12


def test_models_are_trained_as_the_published_ones(table1):
    found = {model: (dataset, given) for dataset, model, given, _ in table1.published("cifar10")}
    assert {"vgg", "vgg_dvib", "wrn"} <= set(found)
    dataset, given = found["vgg_dvib"]
    assert dataset == "cifar10"
    assert {"--initial_weights=vgg/cifar10", "--freeze=features", "--epochs=5"} <= set(given)
    assert "--set=width=0.2" in found["wrn"][1]
    ((dataset, model, given, recipe),) = table1.published("digits", ["vgg_aib_qt"])
    # Other recipes have defaults that the published command does not have.
    assert recipe == "train_cifar10.py"
    assert (dataset, model) == ("cluttered_digits", "vgg_aib_qt")
    with pytest.raises(app.UsageError, match="--like=cifra10: "):
        list(table1.published("cifra10"))


def test_models_on_birds_start_from_imagenet_weights(table1):
    parse("--train")
    assert table1.cub_flags("vgg_att3", []) == table1.CUB_FLAGS
    assert table1.cub_flags("vgg16_aib", ["--epochs=3"]) == ("--set=backbone_weights=imagenet",)
    assert table1.cub_flags("vgg16_aib", ["--width=0.5"]) == ()
    with pytest.raises(app.UsageError, match="wrn50_2_aib starts from.*--wide_resnet_weights"):
        table1.cub_flags("wrn50_2_aib", [])
    parse("--train", "--wide_resnet_weights=weights.pth")
    assert table1.cub_flags("wrn50_2", []) == ("--set=backbone_weights=weights.pth",)


def store(tfds, name, version, side, splits, folder, labels, with_id):
    """Random images as a data set that TFDS takes for the prepared one of that name."""
    rng = np.random.default_rng(0)
    features = {
        "image": tfds.features.Image(shape=(side, side, 3)),
        "label": labels,
        **({"id": tfds.features.Text()} if with_id else {}),
    }
    examples = [
        {
            "image": rng.integers(0, 256, (side, side, 3), dtype=np.uint8),
            "label": i % 10,
            **({"id": str(i)} if with_id else {}),
        }
        for i in range(80)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: list(enumerate(examples[:count])) for split, count in splits.items()
        },
        data_dir=folder,
    )


def run(*command):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_trains_what_is_missing_and_makes_the_table(tmp_path, recipe_path, stl10_classes):
    """Two models, in two processes, on images that take the place of CIFAR-10's and STL-10's."""
    tfds = pytest.importorskip("tensorflow_datasets")
    data, runs = tmp_path / "data", tmp_path / "runs"
    numbers = tfds.features.ClassLabel(num_classes=10)
    names = tfds.features.ClassLabel(names=stl10_classes)
    store(tfds, "cifar10", "3.0.2", 32, {"train": 80, "test": 20}, data, numbers, with_id=True)
    store(tfds, "stl10", "1.0.0", 96, {"train": 20, "test": 30}, data, names, with_id=False)
    command = [
        recipe_path("table1"),
        f"--runs={runs}",
        f"--data_dir={data}",
        "--train",
        "--datasets=cifar10",
        "--models=vgg_gap,vgg_dvib",
        "--jobs=2",
        "--",
        "--width=0.0625",
        "--epochs=1",
        "--batch_size=32",
    ]
    printed = run(*command)
    assert "2 of 2" in printed
    text = (runs / "table1.md").read_text()
    assert "| `vgg_gap` | 9.87 |" in text
    assert "width 0.0625 of the paper's; 1 epoch of 200" in text
    assert text in printed

    workdir = runs / "cifar10-vgg_dvib-seed0"
    printed = run(recipe_path("eval_stl10"), f"--workdir={workdir}", f"--data_dir={data}")
    assert "stl10_test: error" in printed
    assert "over all 30 images" in printed

    again = run(*command)
    assert "of 2:" not in again
    extended = (runs / "table1.md").read_text()
    assert extended.startswith(text)
    assert "## stl10_train" in extended
    assert "| `vgg_dvib` | 51.60 |" in extended.split("## stl10_test")[1]


def parse(*arguments):
    flags.FLAGS.unparse_flags()
    return flags.FLAGS(["table1.py", *arguments])


@pytest.mark.slow
def test_a_training_that_fails_is_told_with_its_reason(tmp_path, table1):
    arguments = [f"--runs={tmp_path}", "--train", "--datasets=cifar10", "--models=vgg"]
    argv = parse(*arguments, "--", "--width=0.0625", "--epochs=0")
    with pytest.raises(sweep.TrainingFailedError, match="cifar10-vgg-seed0 failed") as error:
        table1.main(argv)
    assert "--epochs must be an integer of at least 1, got 0" in str(error.value)


def test_seeds_that_are_no_numbers_are_an_error(tmp_path, table1):
    with pytest.raises(app.UsageError, match="--seeds: expected integers, got 'a'"):
        table1.main(parse(f"--runs={tmp_path}", "--train", "--seeds=a"))


def test_a_misspelt_model_stops_before_any_training(tmp_path, table1):
    argv = parse(f"--runs={tmp_path}", "--train", "--datasets=cifar10", "--models=vgg,vgg_abi")
    with pytest.raises(app.UsageError, match="Did you mean 'vgg_aib'"):
        table1.main(argv)
    assert not list(tmp_path.iterdir())


def test_held_out_examples_are_refused_before_any_training(tmp_path, table1):
    argv = parse(f"--runs={tmp_path}", "--train", "--", "--validation_examples=5000")
    with pytest.raises(app.UsageError, match="Table 1 is of the test images"):
        table1.main(argv)
    assert not list(tmp_path.iterdir())
