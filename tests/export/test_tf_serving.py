import pathlib
import sys

import keras
import numpy as np
import pytest

from aib_keras import export
from aib_keras.export import tf_serving

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

pytest.importorskip("tensorflow_serving")
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2


@pytest.fixture(scope="module")
def version(small_model, tmp_path_factory):
    """The folder of the first version of a model named birds."""
    folder = tmp_path_factory.mktemp("models") / "birds"
    return pathlib.Path(export.to_serving(small_model, folder).path)


def test_version_folder(version):
    assert version.name == "1"
    names = {path.name for path in version.iterdir()}
    assert {"saved_model.pb", "variables", "assets.extra"} <= names
    # Nothing that a server would take for a version, or keep for ever.
    assert [path.name for path in version.parent.iterdir()] == ["1"]


def test_warmup_requests_can_be_answered(version, ran_in):
    records = tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests"))
    logs = [prediction_log_pb2.PredictionLog.FromString(r) for r in records.as_numpy_iterator()]
    loaded = tf.saved_model.load(str(version))
    replayed = set()
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == "birds"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        signature = request.model_spec.signature_name
        outputs = loaded.signatures[signature](
            **{name: tf.constant(value) for name, value in inputs.items()}
        )
        (batch,) = {len(value) for value in inputs.values()}
        np.testing.assert_allclose(outputs["probabilities"].numpy().sum(axis=-1), 1, atol=1e-5)
        assert len(outputs["probabilities"]) == batch
        replayed.add((signature, batch))
    signatures = ("serving_default", "classify_bytes", "explain")
    assert replayed == {(name, batch) for name in signatures for batch in (1, 8)}
    ran_in("a replay of the warm-up requests")


def test_next_version(small_model, tmp_path):
    (tmp_path / "birds" / "7").mkdir(parents=True)
    (tmp_path / "birds" / "notes").mkdir()
    report = export.to_serving(small_model, tmp_path / "birds")
    assert report.path == str(tmp_path / "birds" / "8")
    assert report.bytes > 0


def test_two_exports_at_once_are_two_versions(small_model, tmp_path, monkeypatch):
    write, folder = tf_serving._write_warmup, tmp_path / "birds"

    def write_meanwhile(*arguments):
        write(*arguments)
        (folder / "1").mkdir()
        (folder / "1" / "saved_model.pb").write_text("another export")

    monkeypatch.setattr(tf_serving, "_write_warmup", write_meanwhile)
    report = export.to_serving(small_model, folder)
    assert report.path == str(folder / "2")
    assert (folder / "1" / "saved_model.pb").read_text() == "another export"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_a_file_in_place_of_the_folder(small_model, tmp_path):
    (tmp_path / "birds").write_text("")
    with pytest.raises(FileExistsError, match="Versions need a folder"):
        export.to_serving(small_model, tmp_path / "birds")


def test_without_the_messages(small_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis.prediction_log_pb2", None)
    with pytest.raises(ImportError, match=r'pip install "aib-keras\[serving\]"'):
        export.to_serving(small_model, tmp_path / "birds")
    assert list(tmp_path.iterdir()) == []
