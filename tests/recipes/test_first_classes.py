"""`recipes/first_classes.py`, on a data set made here."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import app, flags

from aib_keras import data


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["albatross", "auklet", "wren"]),
            "label_name": tfds.features.Text(),
            "bbox": tfds.features.BBoxFeature(),
        }
    )
    examples = [
        {
            "image": rng.integers(0, 256, (20, 30, 3), np.uint8),
            "label": number % 3,
            "label_name": "a bird",
            "bbox": tfds.features.BBox(0.1, 0.2, 0.5, 0.6 + number / 100),
        }
        for number in range(12)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="birds",
        version="1.0.0",
        features=features,
        split_datasets={"train": enumerate(examples[:9]), "test": enumerate(examples[9:])},
        data_dir=tmp_path,
    )
    return tmp_path


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("first_classes")


def run(recipe, folder, *arguments):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["first_classes", "--dataset=birds", f"--data_dir={folder}", *arguments])
    recipe.main(["first_classes"])


def in_order(examples):
    """The examples of the first two classes, in the order of their boxes."""
    chosen = np.flatnonzero(examples.labels < 2)
    chosen = chosen[np.argsort(examples.boxes[chosen, 3])]
    return examples.images[chosen], examples.labels[chosen], examples.boxes[chosen]


def test_images_and_boxes_of_the_first_classes_stay_as_they_are(recipe, folder, capsys):
    run(recipe, folder, "--num_classes=2", "--name=two")
    assert capsys.readouterr().out.endswith("\ntwo, train: 6 images\ntwo, test: 2 images\n")
    for split in ("train", "test"):
        found, whole = (
            data.load(name, split, data_dir=str(folder), image_size=(20, 30))
            for name in ("two", "birds")
        )
        assert found.class_names == whole.class_names[:2]
        for each, expected in zip(in_order(found), in_order(whole), strict=True):
            np.testing.assert_array_equal(each, expected)


def test_more_classes_than_there_are_is_an_error(recipe, folder):
    with pytest.raises(app.UsageError, match="birds has 3 classes"):
        run(recipe, folder, "--num_classes=4", "--name=four")
    assert not (folder / "four").exists()
