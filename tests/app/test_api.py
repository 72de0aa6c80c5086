"""The page's functions, as a program can ask for them over HTTP: right results, clear errors."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from aib_keras import explain, metrics
from aib_keras.app import choices, rendering
from aib_serve.overlay import overlay

client_library = pytest.importorskip("gradio_client", reason="the page needs Gradio")
httpx = pytest.importorskip("httpx", reason="the page needs Gradio, which brings httpx")

# It starts the page, in a process of its own.
pytestmark = pytest.mark.slow

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
            "kind": "map",
            "compare": "nothing",
            "opacity": 0.5,
            "stretch": False,
            "perturbation": "colour window",
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
    settings = f'"map", "nothing", 0.5, true, "colour window", {size}, 0'
    return f'{{"data": ["{MODEL}", {json.dumps(image)}, {settings}]}}'


@pytest.fixture(scope="module")
def load(runs):
    offered = choices.Choices(choices.trained([runs]))
    return offered.load


def same(path, picture):
    """Whether a file has the pixels of a picture, but for the last bit and with it a colour, which
    another process's convolutions may round."""
    with Image.open(path) as shown:
        difference = np.asarray(shown.convert("RGB")).astype(int) - picture
    return abs(difference).max() <= 2


def over(photo, attention, limits, nearest=False):
    """The photo with a map over the eight tenths of its sides that the model sees."""
    picture = photo.repeat(2, axis=0).repeat(2, axis=1)
    found = np.rint(0.35 * picture).astype(int)
    part = np.s_[30:270, 42:378]
    attention = np.clip(attention, *limits)
    found[part] = overlay(picture[part], attention, nearest=nearest, limits=limits)
    return found


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("kind", ["map", "quantised map"])
def test_the_pictures_are_the_maps_of_the_image_and_its_modification(
    look, load, image_file, stretch, kind
):
    shares, single, pair, scale, _, facts, modified, modified_map, comparison, _ = look(
        stretch=stretch, kind=kind
    )
    trained = load(MODEL)
    photo = np.asarray(Image.open(image_file))
    image = trained.transform.read(image_file)
    changed = explain.ColorWindow(8, seed=3)(image[None])[0]
    before, after = trained.predict(np.stack([image, changed]))
    limits = (0.0, 1.0)
    if stretch:
        limits = rendering.limits(before.maps[kind], stretch)
    nearest = kind == "quantised map"
    assert single["visible"]
    assert not pair["visible"]
    assert same(single["value"], over(photo, before.maps[kind], limits, nearest))
    large = Image.fromarray(changed).resize((336, 240), Image.Resampling.NEAREST)
    assert same(modified, np.asarray(large))
    clipped = np.clip(after.maps[kind], *limits)
    assert same(modified_map, overlay(np.asarray(large), clipped, nearest=nearest, limits=limits))
    found = {one["label"]: one["confidence"] for one in shares["confidences"]}
    order = np.argsort(-before.probabilities)[: len(found)]
    names = [trained.class_names[index] for index in order]
    assert list(found) == names
    np.testing.assert_allclose(list(found.values()), before.probabilities[order], atol=1e-4)
    assert f"<span>{limits[0]:.3g}</span>" in scale
    assert f"<span>{limits[1]:.3g}</span>" in scale
    assert f"**{before.bits:.1f} bits**" in facts
    assert f"**{before.anchors_in_use} of 20 anchors**" in facts
    cosine = metrics.map_similarity(before.maps[kind][None], after.maps[kind][None])[0]
    assert f"Cosine of the two maps: {cosine:.3f}" in comparison
    assert f"| class | {before.class_name} | {after.class_name} |" in comparison


# Grad-CAM is compiled twice, by the app and here.
@pytest.mark.parametrize("other", ["quantised map", "Grad-CAM"])
def test_a_map_beside_another_one_of_the_same_model(look, load, image_file, other):
    _, single, pair, scale, table, *_ = look(compare=other, stretch=True)
    trained = load(MODEL)
    photo = np.asarray(Image.open(image_file))
    image = trained.transform.read(image_file)
    (found,) = trained.predict(image[None], with_grad_cam=other == "Grad-CAM")
    assert not single["visible"]
    assert pair["visible"]
    for path, kind in zip(pair["value"], ("map", other), strict=True):
        attention = found.maps[kind]
        limits = rendering.limits(attention, stretch=True)
        assert same(path, over(photo, attention, limits, nearest=kind == "quantised map"))
        assert f"<span>{kind} of {MODEL}</span><span>{limits[1]:.3g}</span>" in scale
    assert f"| left: map of {MODEL} | right: {other} of {MODEL} |" in table
    assert f"| class | {found.class_name} | {found.class_name} |" in table


def test_two_models_side_by_side(look, load, image_file):
    other = "vgg_gap on cluttered_digits (seed 0)"
    _, _, pair, _, table, *_, link = look(compare=other)
    trained = load(other)
    (found,) = trained.predict(trained.transform.read(image_file)[None])
    attention, photo = found.maps["map"], np.asarray(Image.open(image_file))
    limits = rendering.limits(attention, stretch=True)
    # This one sees the whole image.
    picture = photo.repeat(2, axis=0).repeat(2, axis=1)
    assert same(pair["value"][1], overlay(picture, attention, limits=limits))
    assert f"| right: map of {other} |" in table
    assert "compare=vgg_gap+on+cluttered_digits+%28seed+0%29" in link


def test_a_class_activation_map_has_colours_for_its_own_range_only(look, load, image_file):
    name = "vgg_gap on cluttered_digits (seed 0)"
    _, single, _, scale, _, facts, *_ = look(model=name, stretch=False)
    trained = load(name)
    (found,) = trained.predict(trained.transform.read(image_file)[None])
    assert f"<span>{found.maps['map'].min():.3g}</span>" in scale
    assert single["value"] is not None
    assert "does not quantise its map" in facts


def test_a_link_names_a_sample_but_no_upload(look, tmp_path):
    from aib_keras.app.samples import Samples

    assert "It opens with a sample image" in look()[-1]
    sample = Samples(tmp_path).paths["digit-3"]
    link = look(image=client_library.handle_file(sample))[-1]
    assert "image=digit-3&amp;" in link
    assert "It opens with" not in link


def test_no_image_is_told(look):
    probabilities, single, pair, scale, table, facts, *others = look(image=None)
    assert "Drop an image" in facts
    assert not single["value"]
    assert not pair["visible"]
    assert not any((probabilities, scale, table, *others))


@pytest.fixture(scope="module")
def sheet(client):
    """`sheet(files)`: the pictures of a contact sheet with their captions, and the text."""

    def call(files, model=MODEL, kind="map"):
        files = [client_library.handle_file(file) for file in files]
        return client.predict(model, files, kind, 0.5, False, api_name="/sheet")

    return call


def test_a_contact_sheet_shows_images_and_flags_other_files(sheet, load, image_file, tmp_path):
    for name, content in (("b.png", image_file.read_bytes()), ("a.txt", b"a"), (".hidden", b"a")):
        (tmp_path / name).write_bytes(content)
    files = [image_file, *sorted(tmp_path.iterdir())]
    pictures, text = sheet(files)
    trained = load(MODEL)
    photo = np.asarray(Image.open(image_file))
    (found,) = trained.predict(trained.transform.read(image_file)[None])
    share = f"{found.class_name} {found.probabilities.max():.0%}"
    assert [one["caption"] for one in pictures] == [f"b.png: {share}", f"noise.png: {share}"]
    with Image.open(pictures[0]["image"]) as shown:
        assert shown.size == (210, 150)
        dim = np.asarray(shown.convert("RGB"))[:15].astype(int)
    assert abs(dim - np.rint(0.35 * photo[:15])).max() <= 1
    assert text.startswith("**Images on the sheet: 2.**")
    assert "- a.txt cannot be read as an image" in text
    assert "hidden" not in text
    assert "/" not in text


def test_a_contact_sheet_without_an_image(sheet, tmp_path):
    assert "first 60 files" in sheet([])[1]
    (tmp_path / "a.txt").write_text("a")
    pictures, text = sheet([tmp_path / "a.txt"])
    assert not pictures
    assert "a.txt cannot be read" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet"}, "no such model. Expected one of: vgg on"),
        ({"model": None}, "no such model"),
        ({"model": ["vgg"]}, "no such model"),
        ({"kind": "heat"}, "must be 'map' or 'quantised map' or 'Grad-CAM', got 'heat'"),
        ({"kind": []}, "must be 'map' or"),
        ({"compare": "heat"}, "must be 'nothing' or 'map' or 'quantised map' or 'Grad-CAM' or"),
        ({"compare": {}}, "must be 'nothing' or 'map'"),
        ({"perturbation": "sepia"}, "'colour window' or 'high-pass' or 'low-pass', got 'sepia'"),
        ({"perturbation": {}}, "must be 'colour window'"),
        ({"size": -1}, "whole number from 1 to 32, got -1"),
        ({"size": 1e300}, "whole number from 1 to 32"),
        ({"size": "8"}, "whole number from 1 to 32"),
        ({"size": None}, "whole number from 1 to 32"),
        ({"perturbation": "low-pass", "size": 17}, "whole number from 1 to 16, got 17"),
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


@pytest.mark.parametrize("place", range(9))
def test_no_argument_makes_the_server_fetch_an_address(post, place):
    content = json.loads(body(None))
    content["data"][place] = {
        "path": "http://127.0.0.1:1/a.png",
        "meta": {"_type": "gradio.FileData"},
    }
    answer = post(json.dumps(content))
    assert "event: error" in answer
    assert "addresses are not fetched" in answer


@pytest.mark.parametrize(
    ("path", "message"),
    [(PATH, "was not uploaded by a user"), ("http://127.0.0.1:1/a.png", "are not fetched")],
)
def test_a_contact_sheet_reads_nothing_but_uploads(server, path, message):
    address = f"{server.address}/gradio_api/call/sheet"
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    content = {"data": [MODEL, files, "map", 0.5, True]}
    event = httpx.post(address, json=content).json()["event_id"]
    answer = httpx.get(f"{address}/{event}", timeout=60).text
    assert "event: error" in answer
    assert message in answer


def test_the_queue_cannot_be_passed_by(server):
    address = f"{server.address}/gradio_api/run/look"
    answer = httpx.post(address, content=body(None), headers=JSON)
    assert answer.status_code == 404
    assert "Please join the queue" in answer.text
