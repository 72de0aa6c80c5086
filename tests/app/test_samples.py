import os
import shutil

import numpy as np
import pytest
from PIL import Image

from aib_keras import data
from aib_keras.app import choices
from aib_keras.app.samples import Samples
from aib_keras.data.folders import list_files
from aib_keras.data.splits import Split
from aib_keras.experiments.examples import files_digest


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return Samples(tmp_path_factory.mktemp("samples"))


def test_models_of_the_embedded_data_set_get_its_images(samples):
    found = samples.fitting("cluttered_digits")
    images = data.load("cluttered_digits", "test[:6]").images
    assert list(found) == [f"digit-{index}" for index in range(1, 7)]
    for path, image in zip(found.values(), images, strict=True):
        np.testing.assert_array_equal(Image.open(path), image)


def test_all_other_models_get_a_photo_that_is_not_square(samples):
    for dataset in ("cifar10", "/home/me/photos"):
        assert list(samples.fitting(dataset)) == ["cat"]
    assert Image.open(samples.paths["cat"]).size == (451, 300)


def test_without_scikit_learn_there_is_the_photo(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert list(Samples(tmp_path).fitting("cluttered_digits")) == ["cat"]


def test_a_sample_is_known_by_its_content(samples, tmp_path):
    copy = tmp_path / "upload.png"
    copy.write_bytes(samples.paths["digit-2"].read_bytes())
    assert samples.name_of(copy) == "digit-2"
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    assert samples.name_of(copy) is None


@pytest.fixture
def birds(tmp_path):
    """A folder with two classes of ten photos."""
    for name in ("robin", "wren"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for index in range(10):
            color = (index, 0, 255 * (name == "wren"))
            Image.new("RGB", (8, 8), color).save(tmp_path / "birds" / name / f"{index}.png")
    return tmp_path / "birds"


def test_a_model_of_own_photos_gets_photos_that_it_was_not_trained_on(birds, tmp_path, make_run):
    config = {"crop_pct": 1.0, "crop_to_box": False, "validation_examples": 0, "test_split": "test"}
    make_run(tmp_path / "run", "vgg_gap", dataset=str(birds), config=config)
    offered = choices.Choices([*choices.trained([tmp_path / "run"]), *choices.published()])
    (tmp_path / "samples").mkdir()
    samples = Samples(tmp_path / "samples", offered.photo_sets)
    found = samples.fitting(offered.dataset(offered.first), offered.photos(offered.first))
    expected = {f"birds/{path.parent.name}/{path.stem}": path for path in held_back(birds)}
    assert list(found) == list(expected)
    for name, path in expected.items():
        assert found[name].read_bytes() == path.read_bytes()
        assert samples.name_of(path) == name
    assert len(samples.groups) == 3
    assert list(samples.fitting("cifar10")) == ["cat"]


def test_each_model_gets_the_photos_that_it_was_evaluated_on(birds, tmp_path, make_run):
    config = {"crop_pct": 1.0, "crop_to_box": False, "test_split": "test"}
    held_out = {**config, "validation_examples": 3, "train_split": "train"}
    make_run(tmp_path / "runs" / "a", "vgg_gap", dataset=str(birds), config=config)
    make_run(tmp_path / "runs" / "b", "vgg", dataset=str(birds), config=held_out)
    other = tmp_path / "other" / "birds"
    shutil.copytree(birds, other)
    make_run(tmp_path / "runs" / "c", "vgg_dvib", dataset=str(other), config=config)
    offered = choices.Choices(choices.trained([tmp_path / "runs"]))
    (tmp_path / "samples").mkdir()
    samples = Samples(tmp_path / "samples", offered.photo_sets)
    groups = {
        name.split()[0]: samples.fitting(offered.dataset(name), offered.photos(name))
        for name in offered.names
    }
    assert groups["vgg_gap"].keys() == {f"birds/{p.parent.name}/{p.stem}" for p in held_back(birds)}
    assert not groups["vgg"].keys() & groups["vgg_gap"].keys()
    assert len(groups["vgg"]) == 3
    # Of the same names in another folder.
    assert not groups["vgg_dvib"].keys() & groups["vgg_gap"].keys()
    assert len(groups["vgg_dvib"]) == len(groups["vgg_gap"])
    for group in (groups["vgg_gap"], groups["vgg_dvib"]):
        name, path = next(iter(group.items()))
        assert samples.name_of(path, group) == name
    assert len(samples.paths) == sum(map(len, samples.groups))


def test_files_of_one_name_and_different_endings_are_two_samples(tmp_path):
    (tmp_path / "photos" / "robin").mkdir(parents=True)
    paths = [tmp_path / "photos" / "robin" / f"1.{ending}" for ending in ("png", "jpg")]
    for value, path in enumerate(paths):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(path)
    samples = Samples(tmp_path, {tuple(paths): "photos"})
    assert list(samples.fitting("photos", tuple(paths))) == ["photos/robin/1", "photos/robin/1 (2)"]


def test_photos_that_have_changed_since_the_training_are_no_samples(birds, tmp_path, make_run):
    config = {"crop_pct": 1.0, "crop_to_box": False, "test_split": "test"}
    digest = files_digest(str(birds), None)
    make_run(tmp_path / "run", "vgg_gap", dataset=str(birds), config=config, files=digest)
    (choice,) = choices.trained([tmp_path / "run"])
    assert choice.photos == tuple(held_back(birds))
    Image.new("RGB", (8, 8)).save(birds / "wren" / "new.png")
    (choice,) = choices.trained([tmp_path / "run"])
    assert choice.photos == ()


def test_a_photo_that_cannot_be_read_or_named_does_not_stop_the_page(tmp_path):
    folder = tmp_path / "photos" / "robin"
    (folder / "gone.png").mkdir(parents=True)
    odd = folder / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (8, 8)).save(odd)
    paths = (folder / "gone.png", folder / "missing.png", odd)
    found = Samples(tmp_path, {paths: "photos"}).fitting("photos", paths)
    assert list(found) == ["photos/robin/caf?"]


def held_back(folder):
    return [path for path, _ in list_files(folder, Split.parse("test"))[1]]


@pytest.mark.parametrize(
    ("config", "chosen"),
    [
        ({}, slice(None)),
        ({"test_split": "test[:2]"}, slice(2)),
        ({"test_split": "test[:99]"}, slice(0)),
    ],
)
def test_they_are_those_of_the_evaluated_split(birds, config, chosen):
    result = {"config": config, "dataset": str(birds)}
    assert list(choices._evaluation_files(result)) == held_back(birds)[chosen]


def test_photos_held_out_of_the_training_split_count(birds):
    files = [path for path, _ in list_files(birds, Split.parse("train"))[1]]
    config = {"validation_examples": 3, "train_split": "train", "test_split": "test"}
    result = {"config": config, "dataset": str(birds)}
    assert list(choices._evaluation_files(result)) == files[-3:]


@pytest.mark.parametrize("dataset", ["cifar10", "cluttered_digits", "/no/folder", "a.npz,b.npz"])
def test_other_data_sets_have_none(dataset):
    result = {"config": {"test_split": "test"}, "dataset": dataset}
    assert choices._evaluation_files(result) == ()
