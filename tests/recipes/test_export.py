"""What recipes/export.py and `aib-keras export` run, on a small training."""

import shutil

import keras
import numpy as np
import pytest
from absl import app, flags

from aib_keras import data, experiments
from aib_keras.experiments import command_line
from aib_keras.utils.files import read_json, write_json

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

# Minutes, as a whole. CI runs the slow tests of recipes.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _flags():
    before = set(flags.FLAGS)
    command_line.define_export_flags()
    yield
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


@pytest.fixture(scope="module")
def workdir(small_run, tmp_path_factory):
    """A training that says that it has seen the middle of larger images."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    shutil.copytree(small_run, workdir)
    result = read_json(workdir / "result.json")
    result["config"] |= {"image_size": 32, "crop_pct": 0.8}
    write_json(workdir / "result.json", result)
    return workdir


def run(*arguments):
    command_line.export_trained(flags.FLAGS(["export.py", *arguments]))


def test_files_are_treated_as_in_the_evaluation(workdir, capsys, tmp_path):
    run(f"--workdir={workdir}", "--export=saved_model")
    assert "Exported and checked" in capsys.readouterr().out
    # Of the size that the middle is taken from.
    larger = data.load("cluttered_digits", "test[:32]", image_size=40).images
    files = [tf.io.encode_png(image).numpy() for image in larger]
    signatures = tf.saved_model.load(workdir / "saved_model").signatures
    found = signatures["classify_bytes"](image_bytes=tf.constant(files))
    evaluated = experiments.load_evaluation(read_json(workdir / "result.json"))
    model = keras.saving.load_model(workdir / "model.keras")
    wanted = keras.ops.softmax(model(evaluated.images))
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-4)
    names = [name.decode() for name in found["class_names"].numpy()[0]]
    assert names == list(evaluated.class_names)


def test_what_is_there_stays(workdir, capsys):
    (workdir / "serving" / "aib" / "7").mkdir(parents=True)
    (workdir / "serving" / "aib" / "7" / "saved_model.pb").write_text("")
    (workdir / "model.onnx").write_text("")
    run(f"--workdir={workdir}", "--export=serving,onnx")
    assert capsys.readouterr().out.splitlines() == [
        f"{workdir / 'serving' / 'aib'} is there already.",
        f"{workdir / 'model.onnx'} is there already.",
    ]


def test_an_empty_folder_is_no_export(workdir, capsys):
    # As an export that was stopped leaves it.
    shutil.rmtree(workdir / "serving", ignore_errors=True)
    (workdir / "serving" / "aib").mkdir(parents=True)
    run(f"--workdir={workdir}", "--export=serving")
    assert "Exported and checked" in capsys.readouterr().out
    assert (workdir / "serving" / "aib" / "1" / "saved_model.pb").is_file()


def test_what_an_export_needs_is_told_before_any_work(workdir, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(app.UsageError, match=r'pip install "aib-keras\[litert\]"'):
        run(f"--workdir={workdir}", "--export=litert")
    assert not (workdir / "model.tflite").exists()


def test_one_export_that_fails_does_not_stop_the_others(workdir, capsys):
    shutil.rmtree(workdir / "saved_model", ignore_errors=True)
    (workdir / "saved_model").mkdir()
    (workdir / "saved_model" / "thesis.tex").write_text("years")
    shutil.rmtree(workdir / "serving", ignore_errors=True)
    with pytest.raises(app.UsageError, match="saved_model was not exported: .* something other"):
        run(f"--workdir={workdir}", "--export=saved_model,serving")
    assert "Exported and checked" in capsys.readouterr().out
    assert (workdir / "serving" / "aib" / "1" / "saved_model.pb").is_file()
    shutil.rmtree(workdir / "saved_model")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workdir=nowhere",), "holds no finished training"),
        (("--workdir=nowhere", "more"), "Unknown arguments: more"),
        (("--workdir=nowhere", "--export=pdf"), "--export=pdf: expected some of saved_model"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(app.UsageError, match=message):
        run(*arguments)
