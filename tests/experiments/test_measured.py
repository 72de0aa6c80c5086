"""Measurements that are kept beside a trained model, and the trainings that are asked for."""

import os

import pytest
from absl import app

from aib_keras.experiments import measured
from aib_keras.utils.files import write_json

SETTINGS = {"examples": 10, "seed": 0, "maps": ("own", "Grad-CAM")}


@pytest.fixture
def path(tmp_path):
    """Where a measurement is kept, beside a model."""
    (tmp_path / "model.keras").write_bytes(b"weights")
    return tmp_path / "scores.json"


def test_what_was_kept_comes_back_for_the_same_settings_only(path):
    assert measured.kept(path, SETTINGS) is None
    measured.keep(path, SETTINGS, {"error": 0.25})
    assert measured.kept(path, SETTINGS) == {"error": 0.25}
    assert measured.kept(path, {**SETTINGS, "seed": 1}) is None
    measured.keep(path, SETTINGS, {"error": 0.5})
    assert measured.kept(path, SETTINGS) == {"error": 0.5}


def test_a_model_that_was_trained_since_is_measured_anew(path):
    measured.keep(path, SETTINGS, {"error": 0.25})
    time = path.stat().st_mtime
    os.utime(path.with_name("model.keras"), (time - 10, time - 10))
    assert measured.kept(path, SETTINGS) == {"error": 0.25}
    os.utime(path.with_name("model.keras"), (time + 10, time + 10))
    assert measured.kept(path, SETTINGS) is None


@pytest.mark.parametrize(
    "content", [{"settings": SETTINGS, "maps": {}}, {"asked": SETTINGS}, [{"settings": SETTINGS}]]
)
def test_a_file_of_an_earlier_version_is_measured_anew(path, content):
    write_json(path, content)
    assert measured.kept(path, SETTINGS) is None


@pytest.fixture
def folders(tmp_path):
    """Two folders of trainings: vgg and vgg_aib in the first, vgg in the second."""
    for folder, model in (("a", "vgg"), ("a", "vgg_aib"), ("b", "vgg")):
        (tmp_path / folder / model).mkdir(parents=True)
        write_json(tmp_path / folder / model / "result.json", {"model": model})
    (tmp_path / "a" / "unfinished").mkdir()
    return [tmp_path / "a", tmp_path / "b"]


def test_trainings_are_chosen_by_model_from_all_folders(folders):
    first, second = folders
    everything = measured.chosen_trainings(folders)
    assert [each["workdir"] for each in everything] == [
        str(first / "vgg"),
        str(first / "vgg_aib"),
        str(second / "vgg"),
    ]
    chosen = measured.chosen_trainings(folders, ["vgg"])
    assert [each["workdir"] for each in chosen] == [str(first / "vgg"), str(second / "vgg")]


def test_a_model_without_a_finished_training_is_an_error_that_lists_those_with_one(folders):
    with pytest.raises(app.UsageError, match=r"training of wrn\. .*there: vgg, vgg_aib"):
        measured.chosen_trainings(folders, ["vgg", "wrn"])


def test_a_folder_without_trainings_is_an_error(tmp_path):
    with pytest.raises(app.UsageError, match=r"no finished training of any model\. .*there: none"):
        measured.chosen_trainings([tmp_path])
