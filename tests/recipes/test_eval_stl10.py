"""recipes/eval_stl10.py on images made up for it."""

import numpy as np
import pytest

from aib_keras.data import ImageData


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("eval_stl10")


@pytest.fixture(scope="module")
def stl10(stl10_classes):
    """`stl10(labels, class_names=...)`: images whose first pixel is their label."""

    def images_of(labels, class_names=stl10_classes):
        labels = np.array(labels, np.int32)
        images = np.zeros((len(labels), 32, 32, 3), np.uint8)
        images[..., 0] = labels[:, None, None]
        return ImageData(images, labels, class_names)

    return images_of


class Predicts:
    """Predicts the CIFAR-10 class of a table, from the STL-10 label in the first pixel."""

    encoder = None

    def __init__(self, table):
        self.table = np.array(table)

    def predict(self, images, verbose):
        return np.eye(10)[self.table[images[:, 0, 0, 0]]]


RIGHT = [0, 2, 1, 3, 4, 5, 7, 6, 8, 9]


def test_classes_are_mapped_by_name(recipe, stl10):
    labels = recipe.cifar_labels(stl10(range(10)))
    assert labels.tolist() == [0, 2, 1, 3, 4, 5, 7, -1, 8, 9]


def test_a_perfect_model_errs_on_monkeys_only(recipe, stl10):
    found = recipe.scores(Predicts(RIGHT), stl10(list(range(10)) * 3), samples=4)
    assert found["test_error_last_epoch"] == pytest.approx(0.1)
    assert found["test_error_shared_classes"] == 0.0
    assert (found["evaluated_examples"], found["shared_examples"]) == (30, 27)
    assert "test_error_last_epoch_sampled" not in found


def test_a_predicted_frog_is_an_error_in_both_readings(recipe, stl10):
    found = recipe.scores(Predicts([6] * 10), stl10(range(10)), samples=0)
    assert found["test_error_last_epoch"] == found["test_error_shared_classes"] == 1.0


def test_other_classes_than_stl10s_are_refused(recipe, stl10):
    with pytest.raises(ValueError, match="Expected STL-10's classes, got ant, bee"):
        recipe.cifar_labels(stl10([0, 1], ("ant", "bee")))
