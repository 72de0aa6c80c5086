import pathlib
import zipfile

import keras
import numpy as np
import pytest

from aib_keras import export
from aib_keras.export import litert_schema

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

interpreters = pytest.importorskip("ai_edge_litert.interpreter")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "mediapipe_metadata.tflite"


@pytest.mark.parametrize("quantize", ["dynamic", "int8"])
def test_what_the_file_says(quantize, litert_models, class_names):
    report = litert_models["vgg_aib_qt", quantize]
    found = export.read_litert_metadata(report.path)
    assert found["name"] == "vgg_aib_qt"
    assert "shows where it looks" in found["description"]
    assert found["class_names"] == class_names
    assert found["image_size"] == (32, 32)
    assert (found["mean"], found["std"]) == ([0.0], [1.0])
    assert found["input_range"] == (0.0, 255.0)
    # The zoo's (0.5071, 0.4867, 0.4408) and (0.2675, 0.2565, 0.2761), times 255.
    assert list(found["inputs"]) == ["images"]
    normalised = "(image - [129.311, 124.109, 112.404]) / [68.2125, 65.4075, 70.4055]"
    assert normalised in found["inputs"]["images"]
    assert set(found["outputs"]) == {"probabilities", "logits", "attention", "attention_quantized"}
    assert "nearest anchor" in found["outputs"]["attention_quantized"]
    assert "nearest anchor" not in found["outputs"]["attention"]


def test_tensors_are_in_the_order_of_the_graph(litert_models):
    # Readers go by it: the standard has no other tie between metadata and tensor.
    path = litert_models["vgg_aib_qt", "int8"].path
    interpreter = interpreters.Interpreter(path)
    details = interpreter.get_signature_runner("serving_default").get_output_details()
    order = [tensor["index"] for tensor in interpreter.get_output_details()]
    names = sorted(details, key=lambda name: order.index(details[name]["index"]))
    assert list(export.read_litert_metadata(path)["outputs"]) == names


def test_labels_are_a_file_in_a_zip_archive(litert_models, class_names):
    with zipfile.ZipFile(litert_models["vgg", None].path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode() == "\n".join(class_names) + "\n"


def test_weights_keep_their_alignment(litert_models):
    # LiteRT's schema: `data:[ubyte] (force_align: 16)`.
    content = pathlib.Path(litert_models["vgg_aib_qt", "int8"].path).read_bytes()
    model = schema.Model.GetRootAs(content)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [
        data.__array_interface__["data"][0]
        for data in (buffer.DataAsNumpy() for buffer in buffers)
        if isinstance(data, np.ndarray)
    ]
    base = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    assert len(starts) > 50
    assert {(start - base) % 16 for start in starts} == {0}


def test_reads_what_mediapipe_writes():
    # mediapipe 1.2.2: ImageClassifier's MetadataWriter.create(tiny model (1, 4, 6, 3) -> (1, 3),
    # [127.5, 110, 100], [128, 64, 32], labels cat, dog, gnat).
    found = export.read_litert_metadata(GOLDEN)
    assert found["name"] == "ImageClassifier"
    assert found["class_names"] == ["cat", "dog", "gnat"]
    assert found["mean"] == [127.5, 110.0, 100.0]
    assert found["std"] == [128.0, 64.0, 32.0]
    assert found["input_range"] == (-3.125, 4.84375)
    assert found["image_size"] is None
    assert found["inputs"] == {"image": "Input image to be processed."}
    assert found["outputs"] == {"score": "Score of the labels respectively."}


def test_writes_a_table_as_mediapipe_does():
    # What is read of theirs, which the test above knows, reads equal when it is written again.
    content = GOLDEN.read_bytes()
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    theirs = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    metadata = litert_schema.unpack(theirs)
    ours = litert_schema.pack(metadata)
    assert litert_schema.unpack(ours) == metadata
    assert ours[4:8] == theirs[4:8] == b"M001"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is not a LiteRT file"), (b"PK\3\4 something else", "is not a LiteRT file")],
)
def test_another_file(content, message, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        export.read_litert_metadata(path)


def test_a_file_without_metadata(tmp_path):
    content = bytearray(GOLDEN.read_bytes())
    place = content.index(b"TFLITE_METADATA")
    content[place : place + 6] = b"OTHER_"
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"has no metadata.*export the model again"):
        export.read_litert_metadata(path)
