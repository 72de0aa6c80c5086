import numpy as np
import pytest
from PIL import Image

from aib_keras import data
from aib_keras.app.samples import Samples


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
