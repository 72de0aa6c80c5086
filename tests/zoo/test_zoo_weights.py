"""`weights=`: a path, or a data set's name in a zoo's index."""

import hashlib
import json
import pathlib

import numpy as np
import pytest
from keras import ops

from aib_keras import zoo

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


@pytest.mark.parametrize("name", ["vgg", "vgg_aib", "wrn", "wrn_aib_qt"])
def test_round_trip_of_other_models(name, small, tmp_path):
    path = tmp_path / "model.weights.h5"
    model = small(name)
    model.save_weights(path)
    np.testing.assert_allclose(
        outputs(small(name, weights=path)), outputs(model), rtol=1e-5, atol=1e-6
    )


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
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entry = {"file": file.name, "sha256": digest, **changes}
        (folder / "index.json").write_text(json.dumps({"vgg_aib_qt": {"digits": entry}}))

    return write


def test_weights_by_name(index, trained, small):
    index()
    model = small("vgg_aib_qt", num_classes=4, weights="digits")
    np.testing.assert_allclose(outputs(model), outputs(trained), rtol=1e-5, atol=1e-6)


def test_a_file_with_another_hash_is_an_error_that_shows_both(index, small):
    index(sha256="0" * 64)
    with pytest.raises(ValueError, match=r"(?s)digits\.weights\.h5.*SHA-256.*0{64}"):
        small("vgg_aib_qt", num_classes=4, weights="digits")


@pytest.mark.parametrize(
    ("name", "weights"), [("vgg_aib_qt", "cifar10"), ("vgg", "digits"), ("vgg_aib_qt", "digit")]
)
def test_an_unknown_name_lists_what_there_is(index, small, name, weights):
    index()
    with pytest.raises(ValueError, match=rf"(?s)no weights '{weights}'.*vgg_aib_qt: digits"):
        small(name, weights=weights)


def test_a_listed_file_that_is_not_there_is_an_error(index, small):
    index(file="gone.weights.h5")
    with pytest.raises(ValueError, match=r"gone\.weights\.h5"):
        small("vgg_aib_qt", num_classes=4, weights="digits")


def test_a_zoo_without_an_index_is_an_error_that_says_how_to_name_another(
    small, tmp_path, monkeypatch
):
    monkeypatch.setenv("AIB_KERAS_ZOO", str(tmp_path))
    with pytest.raises(ValueError, match=r"(?s)index\.json.*AIB_KERAS_ZOO"):
        small("vgg", weights="cifar10")


def test_the_checkouts_own_index_is_read_by_default(small, monkeypatch):
    monkeypatch.delenv("AIB_KERAS_ZOO", raising=False)
    with pytest.raises(ValueError, match="has no weights 'no_such_data' for vgg") as caught:
        small("vgg", weights="no_such_data")
    index = json.loads((REPOSITORY / "zoo" / "index.json").read_text())
    listed = [f"{name}: {', '.join(sorted(sets))}" for name, sets in index.items()]
    for expected in listed or ["It has none yet"]:
        assert expected in str(caught.value)


def test_the_zoo_is_only_read_for_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("AIB_KERAS_ZOO", str(tmp_path / "nowhere"))
    assert zoo.vgg(width=0.03, weights=None).built
