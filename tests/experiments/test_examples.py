import dataclasses

import numpy as np
import pytest
from PIL import Image

from aib_keras import data
from aib_keras.experiments import TrainingConfig, examples, load_data, load_evaluation

CONFIG = TrainingConfig(
    dataset="cluttered_digits", train_split="train[:64]", test_split="test[:24]"
)


@pytest.mark.parametrize(
    ("changes", "split"),
    [
        ({}, "test[:24]"),
        ({"validation_examples": 16}, "train[48:64]"),
        ({"image_size": 20}, "test[:24]"),
    ],
)
def test_evaluation_is_what_the_training_was_evaluated_on(changes, split):
    config = dataclasses.replace(CONFIG, **changes)
    found = load_evaluation({"config": dataclasses.asdict(config)})
    _, expected, _ = load_data(config)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(
        found.images, data.load("cluttered_digits", split, image_size=config.image_size).images
    )


def test_evaluation_is_streamed_if_the_training_was(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(8):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / name / f"{index}.png")
    config = TrainingConfig(dataset=str(tmp_path), stream=True, validation_examples=4, image_size=8)
    found = load_evaluation({"config": dataclasses.asdict(config)})
    assert isinstance(found, data.StreamedImageData)


def test_images_that_changed_since_the_training_are_not_evaluated_on(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(8):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / name / f"{index}.png")
    config = TrainingConfig(dataset=str(tmp_path), image_size=8)
    files = examples.files_digest(config.dataset, None)
    result = {"config": dataclasses.asdict(config), "files": files}
    assert len(load_evaluation(result)) == 4
    (tmp_path / "cat" / "0.png").unlink()
    with pytest.raises(ValueError, match="have changed since the training"):
        load_evaluation(result)


def test_evaluation_does_not_read_the_training_images(monkeypatch):
    read = []
    load = data.load

    def recorded(name, split, **settings):
        read.append(split)
        return load(name, split, **settings)

    monkeypatch.setattr(examples.data, "load", recorded)
    config = dataclasses.replace(CONFIG, test_split="test[:8]")
    load_evaluation({"config": dataclasses.asdict(config)})
    assert read == ["test[:8]"]


def test_evaluation_is_cropped_as_in_training():
    config = dataclasses.replace(CONFIG, image_size=16, crop_pct=0.8)
    found = load_evaluation({"config": dataclasses.asdict(config)})
    larger = data.load("cluttered_digits", "test[:24]", image_size=20).images
    np.testing.assert_array_equal(found.images, larger[:, 2:18, 2:18])


@pytest.mark.parametrize("validation_examples", [0, 16])
def test_wrong_labels_are_in_the_training_examples_only(validation_examples):
    config = dataclasses.replace(
        CONFIG, train_examples=40, validation_examples=validation_examples, seed=3
    )
    train, evaluation, _ = load_data(config)
    changed, same, _ = load_data(dataclasses.replace(config, wrong_labels=0.25))
    assert (changed.labels != train.labels).sum() == 10
    np.testing.assert_array_equal(changed.images, train.images)
    np.testing.assert_array_equal(same.labels, evaluation.labels)
    other, _, _ = load_data(dataclasses.replace(config, wrong_labels=0.25, seed=4))
    assert (other.labels != changed.labels).any()


@pytest.mark.parametrize(
    "changes", [{"validation_examples": 5}, {"train_examples": 9, "augment": "none"}]
)
def test_streamed_examples_are_those_in_memory(changes, tmp_path):
    pytest.importorskip("grain")
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for i in range(10):
            image = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
            image.save(tmp_path / name / f"{i}.png")
    config = TrainingConfig(
        dataset=str(tmp_path), image_size=14, crop_pct=0.875, batch_size=4, **changes
    )
    memory = load_data(config)
    streamed = load_data(dataclasses.replace(config, stream=True))
    assert streamed[2] == memory[2]
    for found, expected in zip(streamed[:2], memory[:2], strict=True):
        assert isinstance(found, data.StreamedImageData)
        np.testing.assert_array_equal(found.images[:], expected.images)
        np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize(
    ("before", "now", "seen"),
    [
        ({}, {}, False),
        ({}, {"validation_examples": 10}, True),
        ({"validation_examples": 10}, {"validation_examples": 10}, False),
        ({"validation_examples": 10}, {"validation_examples": 11}, True),
        ({}, {"validation_examples": 10, "train_split": "train[:50]"}, True),
        ({"validation_examples": 10}, {"test_split": "train[90:]"}, False),
        ({"validation_examples": 10}, {"test_split": "train[-11:]"}, True),
        ({"train_examples": 50}, {"validation_examples": 10}, False),
        ({}, {"train_split": "train[:80]", "test_split": "train[80:]"}, True),
        ({"train_split": "train[:80]"}, {"test_split": "train[80:]"}, False),
        ({"train_split": "train[:80]"}, {"test_split": "train[79:]"}, True),
        ({"train_split": "train[:80%]"}, {"test_split": "train[80%:]"}, False),
        ({"train_split": "train[:-20]"}, {"test_split": "train[-20:]"}, False),
        ({"train_split": "train[50:]"}, {"test_split": "train[:50]"}, False),
        # 80 may be less or more than 80 % of them.
        ({"train_split": "train[:80]"}, {"test_split": "train[80%:]"}, True),
    ],
)
def test_what_a_training_may_have_seen(before, now, seen):
    """The data have 100 training examples."""
    config = TrainingConfig(dataset="photos", **before)
    used = config.train_examples or 100 - config.validation_examples
    result = {"config": config.to_json(), "train_examples": used}
    assert examples.may_have_seen(result, TrainingConfig(dataset="photos", **now)) is seen


@pytest.mark.parametrize(("used", "seen"), [(90, False), (91, True)])
def test_a_training_on_fewer_examples_may_reach_into_those_held_out_now(used, seen):
    """The data have 100 training examples, of which 10 are now held out."""
    config = TrainingConfig(dataset="photos", train_examples=used)
    result = {"config": config.to_json(), "train_examples": used}
    now = TrainingConfig(dataset="photos", validation_examples=10)
    assert examples.may_have_seen(result, now, 90) is seen


@pytest.mark.parametrize("test_split", ["train", "train[-10:]", "train[:1]"])
def test_examples_to_train_on_are_none_to_evaluate_on(test_split):
    config = dataclasses.replace(CONFIG, train_split="train", test_split=test_split)
    with pytest.raises(ValueError, match="has examples of `train_split` 'train'"):
        load_data(config)


def test_a_data_set_of_tfds_has_several_names():
    assert examples.same_data("svhn", "svhn_cropped:3.*.*")
    assert not examples.same_data("svhn", "cifar10")


def test_one_folder_has_several_names(tmp_path, monkeypatch):
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert examples.same_data("birds", str(tmp_path / "birds"))
    assert examples.same_data("./birds", "~/birds")
    assert not examples.same_data("birds", "cifar10")


@pytest.mark.parametrize(
    ("changes", "order", "missing"),
    [
        ({"validation_examples": 5}, [0, 1, 2], "train on have none of 2"),
        ({"validation_examples": 5}, [2, 1, 0], "train on have none of 0"),
        ({"validation_examples": 5}, [1, 0, 2], "train on have none of 2"),
        ({"validation_examples": 3}, [0, 1, 2], "evaluate on have none of 0, 1"),
        ({"train_examples": 8, "validation_examples": 0}, [0, 1, 2], "train on have none of 2"),
    ],
)
def test_data_that_are_sorted_by_class_are_told(changes, order, missing, tmp_path):
    def arrays(count, name):
        labels = np.repeat(order, count)
        return {f"x_{name}": np.zeros((len(labels), 8, 8, 3), "uint8"), f"y_{name}": labels}

    np.savez(tmp_path / "data.npz", **arrays(5, "train"), **arrays(2, "test"))
    config = TrainingConfig(dataset=str(tmp_path / "data.npz"), **changes)
    with pytest.raises(ValueError, match=f"are sorted by class, and those to {missing}"):
        examples.load_data(config)
    config = dataclasses.replace(config, validation_examples=0, train_examples=None)
    assert len(examples.load_data(config)[0]) == 15


def test_what_the_images_look_like():
    config = {"crop_pct": 1.0, "crop_to_box": False}
    result = {"input_shape": [32, 32, 3], "config": config}
    assert examples.how_prepared(result) == "32x32 pixels"
    config |= {"crop_pct": 0.875, "crop_to_box": True}
    assert examples.how_prepared(result) == "32x32 pixels of the central 87.5 %, cropped to the box"
