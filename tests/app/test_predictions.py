"""From files to probabilities, maps and bits, without the page."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from PIL import Image

from aib_keras import data
from aib_keras.app.predictions import Trainings
from aib_keras.experiments import TrainingConfig, results
from aib_keras.utils.files import write_json

QUANTIZED = "vgg_aib_qt on cluttered_digits (seed 0)"


@pytest.fixture(scope="module")
def trainings(runs):
    return Trainings([runs])


def load(trainings, model):
    return trainings.load(f"{model} on cluttered_digits (seed 0)")


def test_trainings_are_named_and_the_one_with_most_to_show_is_first(trainings):
    assert list(trainings.results) == [
        f"{model} on cluttered_digits (seed 0)"
        for model in ("vgg", "vgg_aib_qt", "vgg_dvib", "vgg_gap")
    ]
    assert trainings.first == QUANTIZED


def test_a_model_is_loaded_once(trainings):
    assert trainings.load(QUANTIZED) is trainings.load(QUANTIZED)


@pytest.mark.parametrize("name", ["vgg", None, 3, [], {}])
def test_an_unknown_name_is_told_with_those_there_are(trainings, name):
    with pytest.raises(ValueError, match="no such model. Expected one of: vgg on cluttered_digits"):
        trainings.load(name)


def test_the_result_file_of_a_training_says_what_is_needed(tmp_path, make_run):
    config = TrainingConfig(
        model="vgg_dvib", dataset="cluttered_digits", image_size=32, crop_pct=0.8
    )
    folder = make_run(tmp_path / "any", "vgg_dvib")
    examples = data.load("cluttered_digits", "test[:4]")
    line = {"val_accuracy": 0.5, "val_kl_nats": 1.0, "seconds": 1.0}
    model = keras.saving.load_model(folder / "model.keras")
    write_json(folder / "result.json", results.result(config, model, 4, examples, "test", [line]))
    trained = load(Trainings([tmp_path]), "vgg_dvib")
    assert trained.class_names == tuple("0123456789")
    assert trained.transform == data.EvaluationTransform((32, 32), 0.8)
    assert not trained.crop_to_box


def test_equal_names_are_told_apart_and_unfinished_trainings_left_out(tmp_path, runs, make_run):
    make_run(tmp_path / "b", "vgg", seed=0)
    make_run(tmp_path / "unfinished", "vgg", seed=1)
    (tmp_path / "unfinished" / "model.keras").unlink()
    name = "vgg on cluttered_digits (seed 0)"
    found = Trainings([runs, tmp_path]).results
    assert [key for key in found if key.startswith("vgg on")] == [name, f"{name}, {tmp_path / 'b'}"]


def test_no_training_is_an_error_that_names_the_folders(tmp_path):
    with pytest.raises(ValueError, match=f"no finished training .* in {tmp_path}, nowhere"):
        Trainings([tmp_path, "nowhere"])


def test_the_result_of_something_else_is_an_error_that_names_it(tmp_path, make_run):
    write_json(make_run(tmp_path / "a", "vgg") / "result.json", {"loss": 1})
    with pytest.raises(ValueError, match="a/result.json is not that of a training: .* model, seed"):
        Trainings([tmp_path])


def test_what_is_shown_is_what_the_model_explains(trainings, digits):
    trained = load(trainings, "vgg_aib_qt")
    found, expected = trained.predict(digits[:3]), trained.model.explain(digits[:3])
    shares = keras.ops.convert_to_numpy(keras.ops.softmax(expected["logits"]))
    for index, one in enumerate(found):
        np.testing.assert_allclose(one.probabilities, shares[index], atol=1e-6)
        assert one.class_name == f"class {shares[index].argmax()}"
        np.testing.assert_array_equal(one.attention, expected["attention"][index, ..., 0])
        quantized = expected["attention_quantized"][index, ..., 0]
        np.testing.assert_array_equal(one.attention_quantized, quantized)
        assert one.anchors_in_use == len(set(quantized.flat))
        assert one.bits == pytest.approx(expected["kl_nats"][index] / math.log(2))


@pytest.mark.parametrize(
    ("model", "has_map", "has_bits"),
    [("vgg", False, False), ("vgg_dvib", False, True), ("vgg_gap", True, False)],
)
def test_models_without_a_map_or_bits_say_so(trainings, digits, model, has_map, has_bits):
    trained = load(trainings, model)
    (found,) = trained.predict(digits[:1])
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(trained.model(digits[:1])))
    np.testing.assert_allclose(found.probabilities, expected[0], atol=1e-5)
    assert (found.attention is not None, found.bits is not None) == (has_map, has_bits)
    assert found.attention_quantized is None
    assert trained.num_anchors is None


def test_files_are_prepared_as_those_of_the_evaluation(trainings, tmp_path):
    """Resized to more than the model sees and cropped in the middle; `data.load` has the same."""
    rng = np.random.default_rng(0)
    for index, name in enumerate(("a", "b")):
        (tmp_path / "test" / name).mkdir(parents=True)
        image = Image.fromarray(rng.integers(0, 256, (90, 61, 3), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6  # To be turned by 90 degrees.
        image.save(tmp_path / "test" / name / "image.png", exif=exif if index else None)
    transform = data.EvaluationTransform(30, 0.88)  # 34.09, rounded to 34
    trained = dataclasses.replace(load(trainings, "vgg"), transform=transform)
    expected = data.load(tmp_path, "test", image_size=34).center_crop((30, 30))
    for image, label in zip(expected.images, expected.labels, strict=True):
        path = tmp_path / "test" / expected.class_names[label] / "image.png"
        np.testing.assert_array_equal(trained.transform.read(path), image)


def test_a_file_that_is_no_image_is_an_error_that_names_it(trainings, tmp_path):
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(ValueError, match="notes.png cannot be read as an image"):
        load(trainings, "vgg").transform.read(tmp_path / "notes.png")


def test_a_model_that_diverged_says_so(tmp_path, make_run, digits):
    make_run(tmp_path / "vgg", "vgg")
    trained = load(Trainings([tmp_path]), "vgg")
    trained.model.set_weights([np.nan * weight for weight in trained.model.get_weights()])
    with pytest.raises(ValueError, match="training has diverged"):
        trained.predict(digits[:1])
