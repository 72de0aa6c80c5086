"""`weights=`: a path, or a data set's name in a zoo's index."""

import functools
import hashlib
import http.server
import json
import pathlib
import sys
import threading
import types

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special

from aib_keras import data, training, zoo
from aib_keras.experiments import cards
from aib_keras.zoo import pretrained

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained(small):
    model = small("vgg_aib_qt", num_classes=4)
    # Something that a new model does not have.
    model.attention.head.bias.assign([0.5])
    return model


def outputs(model):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    return ops.convert_to_numpy(model(images))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "path"])
def test_round_trip_through_a_path(trained, small, tmp_path, suffix, kind):
    path = tmp_path / f"model{suffix}"
    trained.save(path) if suffix == ".keras" else trained.save_weights(path)
    loaded = small("vgg_aib_qt", num_classes=4, weights=kind(path))
    np.testing.assert_allclose(outputs(loaded), outputs(trained), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [({"modulation": "mask"}, "`modulation`"), ({"mean": (0.5, 0.5, 0.5)}, "`mean`")],
)
def test_a_model_file_with_other_settings_is_refused(settings, argument, small, tmp_path):
    path = tmp_path / "model.keras"
    small("vgg_aib", **settings).save(path)
    with pytest.raises(ValueError, match=f"was made with another {argument}"):
        small("vgg_aib", weights=path)
    assert small("vgg_aib", weights=path, **settings).built


@pytest.mark.parametrize(
    "name",
    ["vgg", "vgg_aib", *(pytest.param(n, marks=pytest.mark.slow) for n in ("wrn", "wrn_aib_qt"))],
)
def test_round_trip_of_other_models(name, small, tmp_path):
    path = tmp_path / "model.weights.h5"
    model = small(name)
    model.save_weights(path)
    np.testing.assert_allclose(
        outputs(small(name, weights=path)), outputs(model), rtol=1e-5, atol=1e-6
    )


def test_the_saved_state_of_a_training_can_be_loaded(trained, small, tmp_path):
    trained.compile("adam", "sparse_categorical_crossentropy")
    checkpoint = training.Checkpoint(tmp_path / "checkpoint")
    checkpoint.set_model(trained)
    checkpoint.set_params({"epochs": 12})
    checkpoint.on_epoch_end(11)
    (path,) = (tmp_path / "checkpoint").glob("epoch-*.weights.h5")
    loaded = small("vgg_aib_qt", num_classes=4, weights=path)
    np.testing.assert_allclose(outputs(loaded), outputs(trained), rtol=1e-5, atol=1e-6)


@pytest.fixture
def path(trained, tmp_path):
    path = tmp_path / "model.weights.h5"
    trained.save_weights(path)
    return path


def test_another_number_of_classes_is_an_error_that_names_it(small, path):
    with pytest.raises(ValueError, match=r"(?s)does not fit zoo\.vgg_aib_qt.*num_classes=10"):
        small("vgg_aib_qt", weights=path)


@pytest.mark.parametrize(
    "settings", [{"num_anchors": 50}, {"latent_dim": 16}, {"width": 0.125}], ids=str
)
def test_other_settings_are_an_error(small, path, settings):
    with pytest.raises(ValueError, match="does not fit"):
        small("vgg_aib_qt", num_classes=4, weights=path, **settings)


@pytest.mark.parametrize("name", ["vgg", "vgg_aib", "wrn_aib_qt"])
def test_weights_of_another_model_are_an_error(name, small, path):
    with pytest.raises(ValueError, match=f"does not fit zoo.{name}"):
        small(name, num_classes=4, weights=path)


def test_weights_without_a_quantizer_are_an_error_for_a_quantised_model(small, tmp_path):
    small("vgg_aib").save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match="does not fit"):
        small("vgg_aib_qt", weights=tmp_path / "model.weights.h5")


def test_a_missing_file_is_an_error(small, tmp_path):
    with pytest.raises(ValueError, match="no weights file"):
        small("vgg", weights=tmp_path / "none.weights.h5")


def test_a_file_of_another_kind_is_an_error(small, tmp_path):
    (tmp_path / "model.pt").write_text("")
    with pytest.raises(ValueError, match="not a weights file"):
        small("vgg", weights=tmp_path / "model.pt")


def test_a_broken_file_is_an_error(small, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="model.weights.h5"):
        small("vgg", weights=path)


@pytest.fixture
def index(tmp_path, monkeypatch, trained):
    """A zoo with weights of vgg_aib_qt; `index(**changes)` writes its index.json."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    file = folder / "vgg_aib_qt-digits.weights.h5"
    trained.save_weights(file)
    monkeypatch.setenv("AIB_KERAS_ZOO", str(folder))

    def write(**changes):
        entry = {
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "settings": {
                "num_classes": 4,
                "input_shape": [32, 32, 3],
                "width": 0.0625,
                "latent_dim": 8,
            },
            "class_names": ["0", "1", "2", "3"],
            "error": 0.25,
            "evaluated_on": "digits test",
            "bytes": file.stat().st_size,
            "bundled": False,
            "license": "Apache-2.0",
            "command": "python recipes/train_cifar10.py",
            "training": {},
            **changes,
        }
        entry = {name: value for name, value in entry.items() if value is not None}
        (folder / "index.json").write_text(json.dumps({"vgg_aib_qt": {"digits": entry}}))
        return file

    return write


def test_weights_by_name_bring_their_settings(index, trained):
    index()
    model = zoo.vgg_aib_qt(weights="digits")
    np.testing.assert_allclose(outputs(model), outputs(trained), rtol=1e-5, atol=1e-6)
    assert zoo.list_models(weights=True) == ["vgg_aib_qt"]
    [entry] = zoo.weights("vgg_aib_qt")
    assert (entry.name, entry.error, entry.class_names) == ("digits", 0.25, ("0", "1", "2", "3"))
    assert entry.settings["num_classes"] == 4
    assert zoo.weights("vgg") == []


def test_a_setting_that_agrees_with_the_weights_is_allowed(index):
    index()
    assert zoo.vgg_aib_qt(4, [32, 32, 3], weights="digits", include_preprocessing=False).built


@pytest.mark.parametrize(
    ("setting", "default"),
    [({"modulation": "mask"}, "'residual'"), ({"std": (0.5, 0.5, 0.5)}, r"\(0\.2675")],
    ids=str,
)
def test_what_the_training_left_at_its_default_cannot_be_contradicted(index, setting, default):
    index()
    [(name, value)] = setting.items()
    with pytest.raises(ValueError, match=rf"(?s)with {name}={default}.*has {name}="):
        zoo.vgg_aib_qt(weights="digits", **setting)
    # What only a training goes by can be another one for the next.
    encoder = zoo.vgg_aib_qt(weights="digits", beta=0.1).encoder
    assert float(encoder.beta) == pytest.approx(encoder.initial_beta) == 0.1


@pytest.mark.parametrize(
    "setting", [{"num_classes": 10}, {"width": 1.0}, {"latent_dim": 5}], ids=str
)
def test_a_setting_that_contradicts_the_weights_is_an_error_that_names_both(index, setting):
    index()
    [(name, value)] = setting.items()
    trained = zoo.weights("vgg_aib_qt")[0].settings[name]
    with pytest.raises(ValueError, match=rf"(?s)with {name}={trained}.*has {name}={value}\."):
        zoo.vgg_aib_qt(weights="digits", **setting)


def test_a_file_with_another_hash_is_an_error_that_shows_both(index):
    index(sha256="0" * 64)
    with pytest.raises(ValueError, match=r"(?s)digits\.weights\.h5.*SHA-256.*0{64}"):
        zoo.vgg_aib_qt(weights="digits")


def test_a_truncated_file_is_not_opened(index):
    file = index()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not the file that the index describes"):
        zoo.vgg_aib_qt(weights="digits")


@pytest.mark.parametrize(
    "file", ["../digits.weights.h5", "a/../../digits.weights.h5", "/tmp/digits.weights.h5"]
)
def test_a_file_outside_the_zoo_is_an_error(index, file):
    index(file=file)
    with pytest.raises(ValueError, match="outside the zoo's folder"):
        zoo.vgg_aib_qt(weights="digits")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sha256": None}, "expected the fields"),
        ({"settings": None}, "expected the fields"),
        ({"colour": "red"}, "expected the fields"),
        ({"sha256": "abc"}, "not a SHA-256"),
        ({"file": "digits.pt"}, "not one of"),
        ({"settings": [1]}, "must be an object"),
        ({"training": "20 epochs"}, "`training` must be an object"),
    ],
    ids=str,
)
def test_a_bad_entry_is_an_error_that_names_it(index, change, problem):
    index(**change)
    with pytest.raises(ValueError, match=f"(?s)bad entry 'digits' of vgg_aib_qt.*{problem}"):
        zoo.vgg_aib_qt(weights="digits")


@pytest.mark.parametrize(
    ("name", "weights"), [("vgg_aib_qt", "cifar10"), ("vgg", "digits"), ("vgg_aib_qt", "digit")]
)
def test_an_unknown_name_lists_what_there_is(index, name, weights):
    index()
    with pytest.raises(ValueError, match=rf"(?s)no weights '{weights}'.*vgg_aib_qt: digits"):
        zoo.create(name, weights=weights)


def test_a_listed_file_that_is_not_there_is_an_error_that_says_where_to_look(index):
    index(file="gone.weights.h5")
    with pytest.raises(ValueError, match="not in .*AIB_KERAS_ZOO"):
        zoo.vgg_aib_qt(weights="digits")


def test_weights_are_found_by_pattern(index):
    index()
    [entry] = pretrained.matching(["*_qt/*", "vgg_aib_qt/digits"])
    assert (entry.model, entry.name) == ("vgg_aib_qt", "digits")
    with pytest.raises(ValueError, match=r"'vgg_aib/digits'. Did you mean 'vgg_aib_qt/digits'"):
        pretrained.matching(["*/digits", "vgg_aib/digits"])


def test_only_files_on_this_machine_are_at_hand(index, monkeypatch):
    file = index()
    (entry,) = pretrained.at_hand()
    assert (entry.model, entry.name) == ("vgg_aib_qt", "digits")
    file.unlink()
    assert pretrained.at_hand() == []
    # Not asked: there is no such host.
    for base in ("https://zoo.invalid", "hf://somebody/zoo"):
        monkeypatch.setenv("AIB_KERAS_ZOO", base)
        assert pretrained.at_hand() == []


def test_predictions_are_decoded_by_the_names_of_the_classes():
    logits = np.log([[0.1, 0.7, 0.2], [0.6, 0.1, 0.3]])
    first, second = zoo.decode_predictions(logits, ("a", "b", "c"), top=2)
    assert [name for name, _ in first] == ["b", "c"]
    assert [name for name, _ in second] == ["a", "c"]
    assert first[0][1] == pytest.approx(0.7)
    with pytest.raises(ValueError, match="2 class names, got shape"):
        zoo.decode_predictions(logits, ("a", "b"))
    with pytest.raises(ValueError, match="top"):
        zoo.decode_predictions(logits, ("a", "b", "c"), top=0)


def test_published_weights_in_bfloat16():
    digits = data.load("cluttered_digits", "test[:64]")
    expected = zoo.vgg_aib_qt(weights="digits").explain(digits.images)
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = zoo.vgg_aib_qt(weights="digits").explain(digits.images)
    # The differences that docs/guides/training.md states.
    assert (found["logits"].argmax(1) == expected["logits"].argmax(1)).all()
    assert np.abs(found["attention"] - expected["attention"]).max() < 0.02
    probabilities = [special.softmax(each["logits"], axis=1) for each in (found, expected)]
    assert np.abs(probabilities[0] - probabilities[1]).max() < 0.05


def test_published_weights_name_the_classes():
    [[(name, _)]] = zoo.decode_predictions(np.eye(10)[[3]], "vgg/cifar10", top=1)
    assert name == "cat"
    with pytest.raises(ValueError, match="no such"):
        zoo.decode_predictions(np.eye(10), "vgg/no such")


def test_a_zoo_on_hugging_face(index, tmp_path, monkeypatch, trained):
    file, asked = index(), []
    hub = types.ModuleType("huggingface_hub")

    def download(repo, name, revision=None):
        asked.append((repo, name, revision))
        return str(file.parent / name)

    hub.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setenv("AIB_KERAS_ZOO", "hf://somebody/zoo@v1")
    model = zoo.vgg_aib_qt(weights="digits")
    np.testing.assert_allclose(outputs(model), outputs(trained), rtol=1e-5, atol=1e-6)
    assert ("somebody/zoo", "index.json", "v1") in asked
    assert ("somebody/zoo", file.name, "v1") in asked
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="SHA-256"):
        zoo.vgg_aib_qt(weights="digits")


@pytest.fixture
def zoo_at_a_url(index, monkeypatch, tmp_path):
    """A zoo that a local server gives: its `url`, the `asked` requests, and `stop()`."""
    folder, asked = index().parent, []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, text, *values):
            asked.append(values[0])

    def stop():
        server.shutdown()
        server.server_close()

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AIB_KERAS_ZOO", url)
    yield types.SimpleNamespace(url=url, asked=asked, stop=stop)
    stop()


def test_the_index_of_a_zoo_at_a_url_is_read_once(zoo_at_a_url, monkeypatch):
    assert [entry.name for entry in pretrained.matching(["*"])] == ["digits"]
    assert zoo.list_models(weights=True) == ["vgg_aib_qt"]
    assert zoo_at_a_url.asked == ["GET /index.json HTTP/1.1"]
    monkeypatch.setenv("AIB_KERAS_ZOO", f"{zoo_at_a_url.url}/nowhere")
    with pytest.raises(ValueError, match="no zoo at .*404.*Check AIB_KERAS_ZOO"):
        zoo.vgg(weights="cifar10")


def test_a_file_that_a_zoo_at_a_url_lacks_is_a_clear_error(zoo_at_a_url, index, monkeypatch):
    index().unlink()
    with pytest.raises(ValueError, match="weights 'digits' of vgg_aib_qt could not be fetched"):
        zoo.vgg_aib_qt(weights="digits")


def test_downloaded_weights_load_without_the_network(zoo_at_a_url, trained, tmp_path, monkeypatch):
    home = tmp_path / "keras"
    # Keras has read KERAS_HOME when it was imported.
    get_file = functools.partial(keras.utils.get_file, cache_dir=home)
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    online = zoo.vgg_aib_qt(weights="digits")
    zoo_at_a_url.stop()
    pretrained._download_index.cache_clear()  # As in another process.
    with pytest.warns(UserWarning, match="using the index that was downloaded before"):
        offline = zoo.vgg_aib_qt(weights="digits")
    np.testing.assert_array_equal(outputs(offline), outputs(online))
    np.testing.assert_allclose(outputs(online), outputs(trained), rtol=1e-5, atol=1e-6)
    home.rename(tmp_path / "gone")
    pretrained._download_index.cache_clear()
    with pytest.raises(ValueError, match="no zoo at .*Check AIB_KERAS_ZOO and the network"):
        zoo.vgg_aib_qt(weights="digits")


def test_a_zoo_without_an_index_is_an_error_that_says_how_to_name_another(tmp_path, monkeypatch):
    monkeypatch.setenv("AIB_KERAS_ZOO", str(tmp_path))
    with pytest.raises(ValueError, match=r"(?s)index\.json.*AIB_KERAS_ZOO"):
        zoo.vgg(weights="cifar10")


def test_the_zoo_is_only_read_for_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("AIB_KERAS_ZOO", str(tmp_path / "nowhere"))
    assert zoo.vgg(width=0.03, weights=None).built


PUBLISHED = [
    (model, name)
    for model, entries in json.loads((REPOSITORY / "zoo" / "index.json").read_text()).items()
    for name in entries
]


@pytest.mark.parametrize(("model", "name"), PUBLISHED)
def test_every_published_file_is_the_one_in_the_index_and_has_a_card(model, name, monkeypatch):
    monkeypatch.delenv("AIB_KERAS_ZOO", raising=False)
    [entry] = [entry for entry in zoo.weights(model) if entry.name == name]
    assert pretrained.fetch(entry).stat().st_size == entry.bytes
    assert entry.training["test_error_last_epoch"] == entry.error
    assert entry.training["config"]["data_dir"] is None
    card = (REPOSITORY / "zoo" / "cards" / f"{model}-{name}.md").read_text()
    # A note and pictures follow what is generated.
    assert card.startswith(cards.model_card({**entry.training, "published": f"{model}/{name}"}))
    assert f"{100 * entry.error:.2f} %" in card
    assert f"cards/{model}-{name}.md" in (REPOSITORY / "zoo" / "README.md").read_text()
