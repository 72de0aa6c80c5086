"""The models that the page offers, and how they are loaded."""

import shutil

import keras
import numpy as np
import pytest

from aib_keras import data, zoo
from aib_keras.app import choices
from aib_keras.app.predictions import GRAD_CAM, MAP, QUANTIZED
from aib_keras.experiments import TrainingConfig, results
from aib_keras.utils.files import write_json

QUANTIZED_MODEL = "vgg_aib_qt on cluttered_digits (seed 0)"


@pytest.fixture(scope="module")
def offered(runs):
    return choices.Choices([*choices.trained([runs]), *choices.published()])


def named(folder):
    """The names of the trainings in a folder."""
    return [choice.name for choice in choices.trained([folder])]


def test_trainings_come_first_and_the_one_with_most_to_show_is_chosen(offered, runs):
    assert named(runs) == [
        f"{model} on cluttered_digits (seed 0)"
        for model in ("vgg", "vgg_aib_qt", "vgg_dvib", "vgg_gap")
    ]
    assert offered.names[:4] == named(runs)
    assert offered.first == QUANTIZED_MODEL


def test_without_a_training_it_begins_with_bundled_weights():
    offered = choices.Choices(choices.published())
    assert {"vgg/cifar10", "vgg_aib_qt/cifar10", "vgg_aib_qt/digits"} <= set(offered.names)
    assert offered.first == "vgg_aib_qt/cifar10"
    assert dict(map(reversed, offered.labels))["vgg_aib_qt/digits"].endswith("% error)")
    assert offered.dataset("vgg_aib_qt/digits") == "cluttered_digits"


def test_published_weights_are_loaded_when_they_are_chosen(offered):
    trained = offered.load("vgg_aib_qt/digits")
    assert offered.load("vgg_aib_qt/digits") is trained
    assert trained.transform == data.EvaluationTransform((32, 32))
    examples = data.load("cluttered_digits", "test[:50]")
    found = [int(one.class_name) for one in trained.predict(examples.images)]
    assert np.mean(found == examples.labels) > 0.85


@pytest.mark.parametrize("name", ["vgg/cifar11", None, 3, [], {}])
def test_an_unknown_name_is_told_with_those_there_are(offered, name):
    with pytest.raises(ValueError, match=r"no such model\..* Expected one of: vgg on cluttered"):
        offered.load(name)


def test_the_result_file_of_a_training_says_what_is_needed(tmp_path, runs):
    config = TrainingConfig(
        model="vgg_dvib", dataset="cluttered_digits", image_size=32, crop_pct=0.8
    )
    folder = shutil.copytree(runs / "vgg_dvib", tmp_path / "any")
    examples = data.load("cluttered_digits", "test[:4]")
    line = {"epoch": 1, "val_accuracy": 0.5, "val_kl_nats": 1.0, "seconds": 1.0}
    model = keras.saving.load_model(folder / "model.keras")
    write_json(folder / "result.json", results.result(config, model, 4, examples, "test", [line]))
    # The work directory itself, in place of the folder that it is in.
    (choice,) = choices.trained([folder])
    trained = choice.load()
    assert trained.class_names == tuple("0123456789")
    assert trained.transform == data.EvaluationTransform((32, 32), 0.8)
    assert not trained.crop_to_box


def test_equal_names_are_told_apart_and_unfinished_trainings_left_out(tmp_path, runs):
    shutil.copytree(runs / "vgg", tmp_path / "b")
    unfinished = shutil.copytree(runs / "vgg_gap", tmp_path / "unfinished")
    (unfinished / "model.keras").unlink()
    name = "vgg on cluttered_digits (seed 0)"
    found = [choice.name for choice in choices.trained([runs, tmp_path])]
    assert found == [*named(runs), f"{name}, {tmp_path / 'b'}"]


def test_the_result_of_something_else_is_an_error_that_names_it(tmp_path, runs):
    write_json(shutil.copytree(runs / "vgg", tmp_path / "a") / "result.json", {"loss": 1})
    with pytest.raises(ValueError, match="a/result.json is not that of a training: .* model, seed"):
        choices.trained([tmp_path])


@pytest.mark.slow
def test_a_model_of_photos(tmp_path):
    """As `recipes/train_photos.py` leaves it: EfficientNet-Lite0 at 224 pixels."""
    model = zoo.efficientnet_lite0_aib_qt(num_classes=3, modulation="mask", map_beta=0.1)
    model.save(tmp_path / "model.keras")
    result = {"model": "efficientnet_lite0_aib_qt", "dataset": "/photos", "seed": 0}
    result |= {"class_names": ["a", "b", "c"], "last_epoch": {"anchors_in_use": 0.5}}
    config = {"crop_pct": 0.875, "crop_to_box": False}
    write_json(tmp_path / "result.json", {**result, "config": config})
    trained = choices.Choices(choices.trained([tmp_path])).load(
        "efficientnet_lite0_aib_qt on /photos (seed 0)"
    )
    assert trained.transform == data.EvaluationTransform((224, 224), 0.875)
    photo = np.random.default_rng(0).integers(0, 256, (300, 451, 3), np.uint8)
    (found,) = trained.predict(trained.transform.apply(photo)[None], with_grad_cam=True)
    assert {name: values.shape for name, values in found.maps.items()} == {
        name: (14, 14) for name in (MAP, QUANTIZED, GRAD_CAM)
    }
