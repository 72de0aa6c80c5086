import sys

import keras
import numpy as np
import pytest

from aib_keras import export, zoo
from aib_keras.export import destination, litert, onnx, saved_model, signatures, verify

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

EXPORTS = [export.to_saved_model, export.to_litert, export.to_onnx]


@pytest.fixture
def model(small_model):
    return small_model


@pytest.fixture
def no_work(monkeypatch):
    """Fails the test if anything is computed before the error."""

    def work(*_):
        raise AssertionError("computed before the arguments were checked")

    for module in (saved_model, litert, onnx):
        monkeypatch.setattr(module, "expected_outputs", work)


@pytest.mark.usefixtures("no_work")
class TestBeforeAnyWork:
    @pytest.mark.parametrize("to", EXPORTS)
    def test_other_models(self, to, tmp_path):
        plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        with pytest.raises(TypeError, match=r"got Sequential.*model\.export"):
            to(plain, tmp_path / "model")

    @pytest.mark.parametrize("to", EXPORTS)
    def test_model_that_is_not_built(self, to, model, tmp_path):
        unbuilt = type(model).from_config(model.get_config())
        with pytest.raises(ValueError, match=r"not built.*model\.build"):
            to(unbuilt, tmp_path / "model")

    @pytest.mark.parametrize("to", EXPORTS)
    def test_url(self, to, model):
        with pytest.raises(
            ValueError, match="must be a local path, got the URL 'gs://bucket/model'"
        ):
            to(model, "gs://bucket/model")

    @pytest.mark.parametrize("to", [export.to_saved_model, export.to_serving])
    @pytest.mark.parametrize("name", ["birds [2024]", "birds\\2024"])
    def test_folder_that_tensorflow_takes_for_a_pattern(self, to, name, model, tmp_path):
        with pytest.raises(ValueError, match="TensorFlow takes this for a pattern"):
            to(model, tmp_path / name / "model")

    def test_existing_saved_model(self, model, tmp_path):
        (tmp_path / "saved_model.pb").write_bytes(b"old")
        with pytest.raises(FileExistsError, match=r"not empty.*overwrite=True"):
            export.to_saved_model(model, tmp_path)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_folder_with_something_else(self, overwrite, model, tmp_path):
        (tmp_path / "thesis.tex").write_text("years")
        with pytest.raises(FileExistsError, match="something other than a SavedModel"):
            export.to_saved_model(model, tmp_path, overwrite=overwrite)

    def test_saved_model_with_something_else_beside_it(self, model, tmp_path):
        (tmp_path / "saved_model.pb").write_bytes(b"old")
        (tmp_path / "model.tflite").write_bytes(b"a model")
        with pytest.raises(FileExistsError, match=r"a SavedModel in it \(model.tflite\)"):
            export.to_saved_model(model, tmp_path, overwrite=True)

    def test_file_in_place_of_a_folder(self, model, tmp_path):
        (tmp_path / "model").write_text("")
        with pytest.raises(FileExistsError, match="SavedModel is a folder"):
            export.to_saved_model(model, tmp_path / "model", overwrite=True)

    @pytest.mark.parametrize("to", [export.to_litert, export.to_onnx])
    def test_existing_file(self, to, model, tmp_path):
        path = tmp_path / "model"
        path.write_bytes(b"old")
        with pytest.raises(FileExistsError, match=r"model.*overwrite=True"):
            to(model, path)

    @pytest.mark.parametrize(
        ("to", "example"), [(export.to_litert, r"model\.tflite"), (export.to_onnx, r"model\.onnx")]
    )
    def test_folder_in_place_of_a_file(self, to, example, model, tmp_path):
        with pytest.raises(FileExistsError, match=rf"is a folder.*is a file.*{example}"):
            to(model, tmp_path, overwrite=True)

    def test_unknown_quantize(self, model, tmp_path):
        with pytest.raises(
            ValueError, match="None or 'float16' or 'dynamic' or 'int8', got 'int4'"
        ):
            export.to_litert(model, tmp_path / "m", quantize="int4")

    def test_int8_without_images(self, model, tmp_path):
        with pytest.raises(ValueError, match=r"uint8 images \(N, 32, 32, 3\).*100 or more"):
            export.to_litert(model, tmp_path / "m", quantize="int8")

    @pytest.mark.parametrize(
        ("images", "error", "message"),
        [
            (np.zeros((4, 32, 32, 3), "float32"), TypeError, "uint8.*ndarray of float32"),
            ([[0, 1]], TypeError, "got list"),
            (np.zeros((4, 30, 30, 3), "uint8"), ValueError, r"\(4, 30, 30, 3\)"),
            (np.zeros((32, 32, 3), "uint8"), ValueError, r"\(32, 32, 3\)"),
            (np.zeros((0, 32, 32, 3), "uint8"), ValueError, "at least 1"),
        ],
    )
    def test_representative_images(self, images, error, message, model, tmp_path):
        with pytest.raises(error, match=message):
            export.to_litert(model, tmp_path / "m", quantize="int8", representative_images=images)

    def test_no_interpreter(self, model, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
        with pytest.raises(ImportError, match=r"aib-keras\[litert\]"):
            export.to_litert(model, tmp_path / "m")

    @pytest.mark.parametrize("package", ["tf2onnx", "onnxruntime"])
    def test_no_onnx(self, package, model, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"needs {package}.*aib-keras\[onnx\]"):
            export.to_onnx(model, tmp_path / "m")


@pytest.mark.parametrize("to", [export.to_litert, export.to_onnx])
def test_class_names_are_one_for_each_class(to, model, tmp_path):
    with pytest.raises(ValueError, match="`class_names` must be 10 different names"):
        to(model, tmp_path / "model", class_names=["cat", "dog"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["two\nlines", ""])
def test_a_class_name_is_a_line_of_labels(name, model, tmp_path):
    names = [name, *"abcdefghi"]
    with pytest.raises(ValueError, match="one line of text"):
        export.to_litert(model, tmp_path / "model", class_names=names)


class TestFailedCheck:
    @pytest.fixture
    def wrong_graph(self, monkeypatch):
        right = saved_model.exported_outputs

        def wrong(model, images):
            outputs = right(model, images)
            return {**outputs, "attention": outputs["attention"] + 0.25}

        for module in (saved_model, signatures, onnx):
            monkeypatch.setattr(module, "exported_outputs", wrong)

    @pytest.mark.usefixtures("wrong_graph")
    @pytest.mark.parametrize("to", EXPORTS)
    def test_leaves_nothing(self, to, model, tmp_path):
        with pytest.raises(export.ExportError, match=r"attention differs by up to 0\.25"):
            to(model, tmp_path / "model")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.usefixtures("wrong_graph")
    def test_keeps_the_old_export(self, model, tmp_path):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "saved_model.pb").write_bytes(b"old")
        with pytest.raises(export.ExportError):
            export.to_saved_model(model, tmp_path / "model", overwrite=True)
        assert (tmp_path / "model" / "saved_model.pb").read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    def test_model_that_gives_nan(self, tmp_path):
        model = zoo.vgg(width=0.0625)
        bias = model.backbone.get_layer("logits").bias
        bias.assign(bias * float("nan"))
        with pytest.raises(export.ExportError, match="vgg itself returns NaN"):
            export.to_saved_model(model, tmp_path / "model")
        assert list(tmp_path.iterdir()) == []


def test_overwrite(model, tmp_path):
    path = tmp_path / "deep" / "model"
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"old")
    (path / "assets.extra").mkdir()
    export.to_saved_model(model, path, overwrite=True)
    assert (path / "saved_model.pb").stat().st_size > 1000
    assert not (path / "assets.extra").exists()
    assert list(path.parent.iterdir()) == [path]


def test_staged_puts_the_old_folder_back_if_the_move_fails(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(FileNotFoundError), destination.staged(path):
        pass  # nothing is written, so there is nothing to move
    assert (path / "old").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


class TestReport:
    def outputs(self, **changes):
        attention = np.full((4, 2, 2, 1), 0.2, "float32")
        attention[0, 0, 0] = 0.5  # midway between the anchors 0 and 1
        outputs = {
            "probabilities": np.tile(np.float32([0.25, 0.75]), (4, 1)),
            "logits": np.tile(np.float32([0.0, 1.1]), (4, 1)),
            "attention": attention,
            "attention_quantized": np.zeros_like(attention),
        }
        for name, (index, value) in changes.items():
            outputs[name][index] = value
        return outputs

    def report(self, limits=verify.FLOAT32_LIMITS, **changes):
        return verify.verified_report("m", 1, self.outputs(), self.outputs(**changes), limits)

    def test_equal(self):
        report = self.report()
        assert set(report.max_difference.values()) == {0.0}
        assert set(report.cosine.values()) == {1.0}

    def test_a_tie_may_go_to_the_other_anchor_and_move_its_image(self):
        report = self.report(attention_quantized=((0, 0, 0), 1.0), probabilities=(0, [0.35, 0.65]))
        assert report.max_difference["attention_quantized"] == 1.0

    def test_another_position_may_not(self):
        with pytest.raises(export.ExportError, match="attention_quantized differs by up to 0.6"):
            self.report(attention_quantized=((1, 0, 0), 1.0))

    def test_another_image_may_not_move(self):
        with pytest.raises(export.ExportError, match="probabilities differs by up to 0.1"):
            self.report(attention_quantized=((0, 0, 0), 1.0), probabilities=(1, [0.35, 0.65]))

    @pytest.mark.parametrize(
        "limits", [verify.FLOAT32_LIMITS, verify.FLOAT16_LIMITS, verify.INT8_LIMITS]
    )
    @pytest.mark.parametrize("name", ["probabilities", "logits", "attention"])
    def test_nan(self, limits, name):
        with pytest.raises(export.ExportError, match=name):
            self.report(limits, **{name: (0, np.nan)})

    def test_int8_with_another_map(self):
        with pytest.raises(export.ExportError, match="attention has a cosine of"):
            self.report(verify.INT8_LIMITS, attention=((slice(None), 0), 0.0))

    def test_missing_output(self):
        found = self.outputs()
        del found["attention"]
        with pytest.raises(export.ExportError, match="its outputs are"):
            verify.verified_report("m", 1, self.outputs(), found, verify.INT8_LIMITS)
