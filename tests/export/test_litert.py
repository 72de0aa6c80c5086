import keras
import numpy as np
import pytest

from aib_keras import export, zoo

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

interpreters = pytest.importorskip("ai_edge_litert.interpreter")

# Largest and mean absolute difference of probabilities and maps. In half precision and 8 bits a
# position can fall to the anchor beside its own, 1/19 away, which moves that image's probabilities
# by more than the rounding itself: the mean tells a wrong conversion, the largest a broken one.
TOLERANCE = {None: (1e-4, 1e-5), "float16": (0.05, 2e-3), "int8": (0.25, 0.03)}
CASES = [
    ("vgg", None),
    ("vgg_aib_qt", None),
    ("vgg_aib_qt", "float16"),
    ("vgg_aib_qt", "int8"),
    ("wrn_aib_qt", None),
]


@pytest.mark.parametrize(("name", "quantize"), CASES)
def test_outputs_are_the_models(name, quantize, models, litert_models, images, expected):
    interpreter = interpreters.Interpreter(litert_models[name, quantize].path)
    runner = interpreter.get_signature_runner("serving_default")
    for batch in (1, 5):
        found = runner(images=images[:batch])
        wanted = expected(models[name], images[:batch])
        assert set(found) == set(wanted)
        for output in set(wanted) - {"logits", "attention_quantized"}:
            difference = np.abs(found[output] - wanted[output])
            largest, mean = TOLERANCE[quantize]
            assert difference.max() < largest, (output, difference.max())
            assert difference.mean() < mean, (output, difference.mean())
        if "attention_quantized" in wanted:
            np.testing.assert_allclose(
                found["attention_quantized"], found["attention"], atol=0.5 / 19 + 0.01
            )


@pytest.mark.parametrize(("name", "quantize"), CASES)
def test_signature(name, quantize, litert_models):
    interpreter = interpreters.Interpreter(litert_models[name, quantize].path)
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    runner = interpreter.get_signature_runner("serving_default")
    (images,) = runner.get_input_details().values()
    assert images["dtype"] == np.uint8
    assert images["shape_signature"].tolist() == [-1, 32, 32, 3]
    assert list(runner.get_input_details()) == ["images"]
    assert {out["dtype"] for out in runner.get_output_details().values()} == {np.float32}


@pytest.mark.parametrize(("name", "quantize"), CASES)
def test_only_built_in_operations(name, quantize, litert_models):
    # Without delegates, which hide the operations that they take over.
    interpreter = interpreters.Interpreter(
        litert_models[name, quantize].path,
        experimental_op_resolver_type=(
            interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    ops = {op["op_name"] for op in details}
    assert "CONV_2D" in ops
    assert not {op for op in ops if op.startswith("Flex") or "VAR" in op or "CUSTOM" in op}
    if quantize == "int8":
        dtypes = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
        convolutions = [op for op in details if op["op_name"] == "CONV_2D"]
        assert {dtypes[op["outputs"][0]] for op in convolutions} == {np.int8}


def test_reports(litert_models):
    reports = {quantize: litert_models["vgg_aib_qt", quantize] for quantize in TOLERANCE}
    assert reports["float16"].bytes < 0.7 * reports[None].bytes
    assert reports["int8"].bytes < 0.5 * reports[None].bytes
    assert reports[None].max_difference["attention"] < 1e-4
    assert reports["float16"].max_difference["attention"] < 1e-2
    assert reports["int8"].cosine["attention"] > 0.99
    assert reports["int8"].images == 16


def test_a_new_wrn_passes_the_check(tmp_path):
    # Its maps are steep: a rounding error moves a single position by more than 1e-4.
    report = export.to_litert(zoo.wrn_aib_qt(width=0.0625), tmp_path / "model.tflite")
    assert report.same_class == 1.0


def test_a_model_in_mixed_precision_is_exported_in_float32(images, expected, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = zoo.vgg_aib_qt(width=0.0625)
    report = export.to_litert(model, tmp_path / "model.tflite")
    runner = interpreters.Interpreter(report.path).get_signature_runner("serving_default")
    wanted = expected(model, images)
    for output in ("probabilities", "attention"):
        np.testing.assert_allclose(runner(images=images)[output], wanted[output], atol=1e-2)
