import io

import keras
import numpy as np
import pytest
from PIL import Image

from aib_keras import export

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

from aib_keras.export import saved_model

# The Wide-ResNet is the deepest: the graphs of its export take the longest to be made.
NAMES = (
    pytest.param("vgg", marks=pytest.mark.slow),
    "vgg_aib_qt",
    pytest.param("wrn_aib_qt", marks=pytest.mark.slow),
)
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MAPS = ("attention", "attention_quantized")


@pytest.fixture(scope="module")
def named(small_model, tmp_path_factory):
    """The path of a model with class names, images in float32, and a margin around them."""
    path = tmp_path_factory.mktemp("named") / "model"
    export.to_saved_model(
        small_model, path, class_names=CLASSES, input_dtype="float32", crop_pct=0.8
    )
    return path


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def call(path, signature, **inputs):
    loaded = tf.saved_model.load(str(path))
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in loaded.signatures[signature](**inputs).items()}


@pytest.mark.parametrize("name", NAMES)
def test_files_get_what_their_images_get(name, models, saved_models, images, expected):
    found = call(saved_models[name].path, "classify_bytes", image_bytes=[*map(png, images)])
    wanted = expected(models[name], images)
    maps = set(MAPS) & set(wanted)
    text = {"class_names", "predicted_class", "error"}
    assert set(found) == {"probabilities", *maps, *text, *(["attention_box"] if maps else [])}
    for output in ("probabilities", *maps):
        np.testing.assert_allclose(found[output], wanted[output], atol=1e-4, err_msg=output)
    assert found["error"].tolist() == [b""] * len(images)
    assert found["class_names"].tolist() == [[b"%d" % index for index in range(10)]] * len(images)
    best = wanted["probabilities"].argmax(axis=-1)
    assert found["predicted_class"].tolist() == [b"%d" % index for index in best]
    if maps:
        assert found["attention_box"].tolist() == [[0, 0, 1, 1]] * len(images)


def test_a_bad_file_is_told_in_its_row(saved_models, images):
    contents = [png(images[0]), b"GIF89a", png(images[1])]
    found = call(saved_models["vgg_aib_qt"].path, "classify_bytes", image_bytes=contents)
    alone = call(saved_models["vgg_aib_qt"].path, "classify_bytes", image_bytes=contents[::2])
    assert found["error"].tolist() == [b"", b"not a JPEG, PNG or WebP image", b""]
    assert found["predicted_class"][1] == b""
    for name in ("probabilities", *MAPS):
        assert not found[name][1].any()
        np.testing.assert_allclose(found[name][::2], alone[name], atol=1e-5)


def test_too_many_files(saved_models):
    with pytest.raises(tf.errors.InvalidArgumentError, match="At most 128 files"):
        call(saved_models["vgg"].path, "classify_bytes", image_bytes=[b""] * 129)


@pytest.mark.parametrize("name", NAMES[1:])
def test_explain(name, models, saved_models, images, expected):
    found = call(saved_models[name].path, "explain", images=images)
    wanted = expected(models[name], images)
    text = {"class_names", "predicted_class"}
    assert set(found) == {"probabilities", *MAPS, *text}
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-4)
    for output in MAPS:
        assert found[output].shape == (len(images), 32, 32, 1)
    # Each of the 16 x 16 values is over 2 x 2 pixels, as it is, and no other comes up.
    large = wanted["attention_quantized"].repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(found["attention_quantized"], large, atol=1e-4)
    means = found["attention"].reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4))
    assert np.corrcoef(means.ravel(), wanted["attention"].ravel())[0, 1] > 0.95


def test_class_names_and_the_box(named, images):
    found = call(named, "classify_bytes", image_bytes=[png(images[0])])
    assert [name.decode() for name in found["class_names"][0]] == list(CLASSES)
    best = found["probabilities"][0].argmax()
    assert found["predicted_class"][0].decode() == CLASSES[best]
    np.testing.assert_allclose(found["attention_box"][0], [0.1, 0.1, 0.9, 0.9], atol=1e-6)
    explained = call(named, "explain", images=images.astype("float32"))
    assert [name.decode() for name in explained["class_names"][1]] == list(CLASSES)


def test_float_images(named, small_model, images, expected):
    found = call(named, "serving_default", images=images.astype("float32"))
    wanted = expected(small_model, images)
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("signature", ["serving_default", "explain"])
def test_float_images_that_are_not_finite(value, signature, named, images):
    images = images.astype("float32")
    images[1, 2, 3, 0] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="`images` must be finite"):
        call(named, signature, images=images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": CLASSES[:9]}, "must be 10 different names.*got 9"),
        ({"class_names": ("cat",) * 10}, "of which 1 are different"),
        ({"input_dtype": "float16"}, "'uint8' or 'float32' for vgg, got 'float16'"),
        ({"crop_pct": 1.5}, r"`crop_pct` must be a finite number in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_arguments(arguments, message, models, tmp_path):
    with pytest.raises(ValueError, match=message):
        export.to_saved_model(models["vgg"], tmp_path / "model", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_files_that_get_something_else_are_an_error(models, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "_png_around", lambda image, ratio: png(255 - image))
    with pytest.raises(export.ExportError, match="from files the probabilities differ"):
        export.to_saved_model(models["vgg"], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
