"""The page's functions, as a program can ask for them over HTTP: right results, clear errors."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from aib_keras import explain, metrics
from aib_keras.app.predictions import Trainings
from aib_serve.overlay import overlay

client_library = pytest.importorskip("gradio_client", reason="the page needs Gradio")
httpx = pytest.importorskip("httpx", reason="the page needs Gradio, which brings httpx")

MODEL = "vgg_aib_qt on cluttered_digits (seed 0)"
PATH = "/etc/hostname"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    return client_library.Client(server.address, verbose=False, download_files=folder)


@pytest.fixture(scope="module")
def look(client, image_file):
    """`look(**changes)`: the outputs of the page for `image_file`, with some inputs changed."""

    def call(**changes):
        values = {
            "model": MODEL,
            "image": client_library.handle_file(image_file),
            "opacity": 0.5,
            "stretch": False,
            "kind": "colour window",
            "size": 8,
            "seed": 3,
        }
        return client.predict(*{**values, **changes}.values(), api_name="/look")

    return call


@pytest.fixture(scope="module")
def post(server):
    """`post(body)`: what the app answers to a request for "look" with this JSON."""

    def call(body):
        address = f"{server.address}/gradio_api/call/look"
        event = httpx.post(address, content=body, headers=JSON).json()["event_id"]
        return httpx.get(f"{address}/{event}", timeout=60).text

    return call


def body(image, size="8"):
    return f'{{"data": ["{MODEL}", {json.dumps(image)}, 0.5, true, "colour window", {size}, 0]}}'


@pytest.mark.parametrize("stretch", [False, True])
def test_the_pictures_are_the_maps_of_the_image_and_its_modification(
    look, runs, image_file, stretch
):
    shares, attention, quantized, scale, facts, modified, modified_map, comparison = look(
        stretch=stretch
    )
    trained = Trainings([runs]).load(MODEL)
    image = trained.transform.read(image_file)
    changed = explain.ColorWindow(8, seed=3)(image[None])[0]
    before, after = trained.predict(np.stack([image, changed]))
    limits = (0.0, 1.0)
    if stretch:
        limits = float(before.attention.min()), float(before.attention.max())

    def painted(picture, values, nearest=False):
        large = picture.repeat(8, axis=0).repeat(8, axis=1)
        return overlay(large, np.clip(values, *limits), nearest=nearest, limits=limits)

    expected = {
        attention: painted(image, before.attention),
        quantized: painted(image, before.attention_quantized, nearest=True),
        modified: changed.repeat(8, axis=0).repeat(8, axis=1),
        modified_map: painted(changed, after.attention),
    }
    for path, picture in expected.items():
        with Image.open(path) as shown:
            difference = np.asarray(shown.convert("RGB")).astype(int) - picture
        # Another process's convolutions may round the last bit, and with it a colour.
        assert abs(difference).max() <= 2
    found = {one["label"]: one["confidence"] for one in shares["confidences"]}
    order = np.argsort(-before.probabilities)[: len(found)]
    names = [trained.class_names[index] for index in order]
    assert list(found) == names
    np.testing.assert_allclose(list(found.values()), before.probabilities[order], atol=1e-4)
    assert f"<span>{limits[0]:.3g}</span>" in scale
    assert f"<span>{limits[1]:.3g}</span>" in scale
    assert f"**{before.bits:.1f} bits**" in facts
    assert f"**{before.anchors_in_use} of 20 anchors**" in facts
    cosine = metrics.map_similarity(before.attention[None], after.attention[None])[0]
    assert f"Cosine of the two maps: {cosine:.3f}" in comparison
    assert f"| class | {before.class_name} | {after.class_name} |" in comparison


def test_a_class_activation_map_has_colours_for_its_own_range_only(look, runs, image_file):
    name = "vgg_gap on cluttered_digits (seed 0)"
    _, attention, quantized, scale, facts, *_ = look(model=name, stretch=False)
    trained = Trainings([runs]).load(name)
    (found,) = trained.predict(trained.transform.read(image_file)[None])
    assert f"<span>{found.attention.min():.3g}</span>" in scale
    assert attention is not None
    assert quantized is None
    assert "does not quantise its map" in facts


def test_no_image_is_told(look):
    found = look(image=None)
    assert "Drop an image" in found[4]
    assert not any(found[1:4])
    assert not any(found[5:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet"}, "no such model. Expected one of: vgg on"),
        ({"model": None}, "no such model"),
        ({"model": ["vgg"]}, "no such model"),
        ({"kind": "sepia"}, "must be 'colour window' or 'high-pass' or 'low-pass', got 'sepia'"),
        ({"kind": {}}, "must be 'colour window'"),
        ({"size": -1}, "whole number from 1 to 32, got -1"),
        ({"size": 1e300}, "whole number from 1 to 32"),
        ({"size": "8"}, "whole number from 1 to 32"),
        ({"size": None}, "whole number from 1 to 32"),
        ({"kind": "low-pass", "size": 17}, "whole number from 1 to 16, got 17"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": None}, "seed must be a whole number"),
        ({"opacity": 7}, "`opacity` must be a number in"),
        ({"opacity": "half"}, "`opacity` must be a number in"),
        ({"image": 5}, "valid dictionary"),
        ({"image": "image.png"}, "valid dictionary"),
    ],
)
def test_wrong_values_get_clear_errors(look, changes, message):
    with pytest.raises(client_library.exceptions.AppError) as caught:
        look(**changes)
    assert message in str(caught.value)


def test_numbers_that_json_does_not_have_get_a_clear_error(server, post, image_file):
    files = {"files": ("noise.png", image_file.read_bytes())}
    (path,) = httpx.post(f"{server.address}/gradio_api/upload", files=files).json()
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert "event: complete" in post(body(image))
    answer = post(body(image, size="NaN"))
    assert "event: error" in answer
    assert "whole number from 1 to 32, got nan" in answer


def test_an_upload_that_was_deleted_meanwhile_is_told(server, post):
    files = {"files": ("any.png", b"any")}
    (path,) = httpx.post(f"{server.address}/gradio_api/upload", files=files).json()
    pathlib.Path(path).unlink()
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert "The image is no longer here" in post(body(image))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"path": PATH}, "not an uploaded file"),
        ({"path": PATH, "meta": {"_type": "gradio.FileData"}}, "was not uploaded by a user"),
        ({"path": "\0"}, "not an uploaded file"),
        ({"path": "a" * 5000}, "not an uploaded file"),
        ({"path": None, "url": "data:image/png;base64,AAAA"}, "not an uploaded file"),
        ({"path": "http://127.0.0.1:1/a.png"}, "not an uploaded file"),
        (
            {"path": "http://127.0.0.1:1/a.png", "meta": {"_type": "gradio.FileData"}},
            "addresses are not fetched",
        ),
    ],
)
def test_nothing_but_uploads_is_read(post, image, message):
    answer = post(body(image))
    assert "event: error" in answer
    assert message in answer


def test_the_queue_cannot_be_passed_by(server):
    address = f"{server.address}/gradio_api/run/look"
    answer = httpx.post(address, content=body(None), headers=JSON)
    assert answer.status_code == 404
    assert "Please join the queue" in answer.text
