"""recipes/litert_report.py on a small training on cluttered digits."""

import json
import shutil

import keras
import numpy as np
import pytest
from absl import app, flags

from aib_keras import experiments, export
from aib_keras.experiments import TrainingConfig

# Minutes, as a whole. CI runs the slow tests of recipes.
pytestmark = pytest.mark.slow

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

pytest.importorskip("ai_edge_litert")

VARIANTS = ["float32", "float16", "dynamic", "int8"]


@pytest.fixture(scope="module")
def workdir(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cluttered_digits-vgg_aib_qt-seed0"
    shutil.copytree(small_run, folder)
    return folder


@pytest.fixture(scope="module")
def run(load_recipe):
    """`run(*arguments)`: runs the recipe in this process; its module is `run.recipe`."""

    def run(*arguments):
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["litert_report", *arguments])
        run.recipe.main([])

    run.recipe = load_recipe("litert_report")
    return run


def test_four_variants_and_a_table(workdir, run, capsys):
    run(f"--workdir={workdir}", "--examples=20", "--representative=16", "--turns=2")
    printed = capsys.readouterr().out
    folder = workdir / "litert"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{name}.tflite" for name in VARIANTS} | {"report.md", "report.json"}
    report = json.loads((folder / "report.json").read_text())
    assert report["evaluated_examples"] == 20
    assert report["threads"] == 1
    assert list(report["variants"]) == VARIANTS

    model = keras.saving.load_model(workdir / "model.keras", compile=False)
    result = json.loads((workdir / "result.json").read_text())
    evaluation = experiments.load_evaluation(result).take(20)
    predicted = model.predict(evaluation.images, verbose=0).argmax(axis=-1)
    float32 = report["variants"]["float32"]
    assert float32["error"] == pytest.approx(np.mean(predicted != evaluation.labels), abs=1e-6)
    assert float32["same_class"] == 1.0
    assert set(float32["speedup"].values()) == {1.0}
    assert float32["cosine"] == {"attention": 1.0, "attention_quantized": 1.0}
    for name, figures in report["variants"].items():
        assert figures["bytes"] == (folder / f"{name}.tflite").stat().st_size
        assert list(figures["speedup"]) == list(figures["milliseconds"]) == ["1", "64"]
        assert min(figures["cosine"].values()) > 0.9
    assert report["variants"]["int8"]["bytes"] < float32["bytes"]

    text = (folder / "report.md").read_text()
    assert text in printed
    assert "## `vgg_aib_qt` on cluttered_digits" in text
    assert "20 images of test[:32], 1 thread; float32 takes" in text
    for name in VARIANTS:
        assert f"| {name} | 0." in text
    class_names = export.read_litert_metadata(folder / "int8.tflite")["class_names"]
    assert class_names == list("0123456789")


def test_representative_images_are_of_the_training_and_from_all_over_it(workdir, run):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["litert_report", "--representative=4"])
    result = json.loads((workdir / "result.json").read_text())
    train_data, _, _ = experiments.load_data(TrainingConfig.from_json(result["config"]))
    images = run.recipe.representative_images(result, train_data.input_shape)
    np.testing.assert_array_equal(images, train_data.images[[0, 21, 42, 63]])


def test_cosine_of_a_map_of_zeros(run):
    maps = np.zeros((2, 2, 2, 1), "float32")
    maps[0] = 3
    others = np.ones_like(maps)
    assert run.recipe.mean_cosine(maps, others) == pytest.approx(0.5)


def test_no_such_training(tmp_path, run):
    with pytest.raises(app.UsageError, match="no finished training there"):
        run(f"--workdir={tmp_path}")
    with pytest.raises(app.UsageError, match="--workdir=None"):
        run()
