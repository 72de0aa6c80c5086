import keras
import numpy as np
import pytest
from small import small_classifier

from aib_keras import export, zoo
from aib_keras.export import litert
from aib_keras.models import PlainClassifier

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

interpreters = pytest.importorskip("ai_edge_litert.interpreter")

# Largest and mean absolute difference of probabilities and maps. In half precision and 8 bits a
# position can fall to the anchor beside its own, 1/19 away, which moves that image's probabilities
# by more than the rounding itself: the mean tells a wrong conversion, the largest a broken one.
TOLERANCE = {
    None: (1e-4, 1e-5),
    "float16": (0.05, 2e-3),
    "dynamic": (0.1, 0.01),
    "int8": (0.25, 0.03),
}
# The Wide-ResNet is deep and converted for long. A new one is converted below.
CASES = [
    pytest.param("vgg", None, marks=pytest.mark.slow),
    ("vgg_aib_qt", None),
    pytest.param("vgg_aib_qt", "float16", marks=pytest.mark.slow),
    pytest.param("vgg_aib_qt", "dynamic", marks=pytest.mark.slow),
    ("vgg_aib_qt", "int8"),
    pytest.param("wrn_aib_qt", None, marks=pytest.mark.slow),
    pytest.param("wrn_aib_qt", "int8", marks=pytest.mark.slow),
]


def plain_interpreter(path):
    """One without delegates, which hide the operations that they take over."""
    interpreter = interpreters.Interpreter(
        path,
        experimental_op_resolver_type=(
            interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    interpreter.allocate_tensors()
    return interpreter


def operations(path):
    """(Name, dtype of the first output) of each operation."""
    interpreter = plain_interpreter(path)
    dtypes = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    return [(op["op_name"], dtypes[op["outputs"][0]]) for op in interpreter._get_ops_details()]


def check_outputs(found, wanted, tolerance):
    assert set(found) == set(wanted)
    largest, mean = tolerance
    for output in set(wanted) - {"logits", "attention_quantized"}:
        assert found[output].dtype == np.float32
        difference = np.abs(found[output] - wanted[output])
        assert difference.max() < largest, (output, difference.max())
        assert difference.mean() < mean, (output, difference.mean())
    if "attention_quantized" in wanted:
        np.testing.assert_allclose(
            found["attention_quantized"], found["attention"], atol=0.5 / 19 + 0.01
        )


@pytest.mark.parametrize(("name", "quantize"), CASES)
def test_outputs_are_the_models(name, quantize, models, litert_models, images, expected):
    wanted = expected(models[name], images)
    found = litert.run(litert_models[name, quantize].path, images, batch_size=2)
    check_outputs(found, wanted, TOLERANCE[quantize])


@pytest.mark.parametrize("quantize", [None, "int8"])
@pytest.mark.parametrize("batch", [1, 5])
def test_outputs_by_the_interpreter_alone(quantize, batch, litert_models, images):
    path = litert_models["vgg_aib_qt", quantize].path
    runner = interpreters.Interpreter(path).get_signature_runner("serving_default")
    found = runner(images=images[:batch])
    for name, wanted in litert.run(path, images[:batch]).items():
        value = found[name]
        if quantize == "int8":
            assert value.dtype == np.uint8
            scale, zero_point = runner.get_output_details()[name]["quantization"]
            value = (value.astype(int) - zero_point) * scale
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "quantize"), CASES)
def test_signature(name, quantize, litert_models):
    interpreter = interpreters.Interpreter(litert_models[name, quantize].path)
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    runner = interpreter.get_signature_runner("serving_default")
    assert list(runner.get_input_details()) == ["images"]
    images = runner.get_input_details()["images"]
    assert images["dtype"] == np.uint8
    assert images["shape_signature"].tolist() == [-1, 32, 32, 3]
    # Nothing is to be done with pixels, quantised or not.
    assert images["quantization"] == ((1.0, 0) if quantize == "int8" else (0.0, 0))
    dtype = np.uint8 if quantize == "int8" else np.float32
    assert {out["dtype"] for out in runner.get_output_details().values()} == {dtype}


@pytest.mark.parametrize(("name", "quantize"), CASES)
def test_only_built_in_operations(name, quantize, litert_models):
    ops = {op for op, _ in operations(litert_models[name, quantize].path)}
    assert "CONV_2D" in ops
    assert not {op for op in ops if op.startswith("Flex") or "VAR" in op or "CUSTOM" in op}


@pytest.mark.parametrize("name", ["vgg_aib_qt", pytest.param("wrn_aib_qt", marks=pytest.mark.slow)])
def test_int8_is_integers_throughout(name, litert_models):
    path = litert_models[name, "int8"].path
    dtypes = {tensor["dtype"] for tensor in plain_interpreter(path).get_tensor_details()}
    assert dtypes <= {np.int8, np.uint8, np.int32, np.int64, np.bool_}
    ops = operations(path)
    assert {dtype for op, dtype in ops if op in ("CONV_2D", "LOGISTIC", "SOFTMAX")} == {np.int8}
    assert "DEQUANTIZE" not in {op for op, _ in ops}


def test_int8_weights_are_quantised_by_channel(litert_models):
    scales = [
        tensor["quantization_parameters"]["scales"]
        for tensor in plain_interpreter(
            litert_models["vgg_aib_qt", "int8"].path
        ).get_tensor_details()
        if tensor["dtype"] == np.int8 and tensor["shape"].tolist() == [16, 3, 3, 16]
    ]
    assert scales
    assert {len(scale) for scale in scales} == {16}


@pytest.mark.slow
def test_dynamic_has_weights_in_8_bits_and_activations_in_floats(litert_models):
    path = litert_models["vgg_aib_qt", "dynamic"].path
    assert np.int8 in {tensor["dtype"] for tensor in plain_interpreter(path).get_tensor_details()}
    assert {dtype for op, dtype in operations(path) if op == "CONV_2D"} == {np.float32}


@pytest.mark.slow
@pytest.mark.parametrize("quantize", TOLERANCE)
def test_batch_norm_is_folded_into_the_convolutions(quantize, litert_models):
    ops = operations(litert_models["vgg_aib_qt", quantize].path)
    # What is left: the normalisation of the images and the modulation of the features, f + f * a.
    # An ADD of integers is of the look-up of the anchors.
    arithmetic = [op for op, dtype in ops if op in ("CONV_2D", "MUL", "ADD") and dtype != np.int32]
    # The map's convolution is the eighth, after the seven of the first stage.
    assert arithmetic[:12] == ["MUL", "ADD", *["CONV_2D"] * 8, "MUL", "ADD"]
    assert set(arithmetic[12:]) == {"CONV_2D"}


def test_a_pixel_is_a_step_of_the_input_whatever_the_images(
    small_model, representative_images, tmp_path
):
    grey = representative_images // 4 + 64
    given = grey.copy()
    report = export.to_litert(
        small_model, tmp_path / "model.tflite", quantize="int8", representative_images=grey
    )
    (images,) = interpreters.Interpreter(report.path).get_input_details()
    assert images["dtype"] == np.uint8
    assert images["quantization"] == (1.0, 0)
    np.testing.assert_array_equal(grey, given)


@pytest.mark.slow
def test_int8_without_preprocessing(representative_images, images, expected, settled, tmp_path):
    def normalised(pixels):
        return pixels.astype("float32") / 64 - 2

    given = normalised(representative_images)
    model = settled(zoo.vgg_aib(width=0.0625, include_preprocessing=False), given)
    report = export.to_litert(
        model, tmp_path / "model.tflite", quantize="int8", representative_images=given
    )
    (details,) = interpreters.Interpreter(report.path).get_input_details()
    assert details["dtype"] == np.uint8
    np.testing.assert_allclose(details["quantization"], (1 / 64, 128), rtol=0.02)
    found = litert.run(report.path, normalised(images))
    check_outputs(found, expected(model, normalised(images)), TOLERANCE["int8"])
    metadata = export.read_litert_metadata(report.path)
    assert metadata["mean"] is metadata["std"] is metadata["input_range"] is None
    assert "normalised like" in metadata["inputs"]["images"]


@pytest.mark.slow
def test_int8_of_a_class_activation_map(representative_images, images, settled, tmp_path):
    model = settled(zoo.vgg_gap(width=0.0625), representative_images.astype("float32"))
    report = export.to_litert(
        model,
        tmp_path / "model.tflite",
        quantize="int8",
        representative_images=representative_images,
    )
    found, wanted = litert.run(report.path, images), model.explain(images)
    same = found["logits"].argmax(-1) == wanted["logits"].argmax(-1)
    assert same.any()
    for a, b in zip(found["attention"][same], wanted["attention"][same], strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9


def test_what_cannot_be_integers_is_refused(representative_images, tmp_path):
    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    backbone = keras.Model(inputs, keras.ops.sin(keras.layers.Dense(4)(pooled)))
    model = PlainClassifier(backbone, keras.layers.Rescaling(1 / 128, -1), name="wave")
    model.build((None, 32, 32, 3))
    with pytest.raises(export.ExportError, match=r"all of wave.*in floats.*'dynamic'"):
        export.to_litert(
            model, tmp_path / "m", quantize="int8", representative_images=representative_images
        )
    assert list(tmp_path.iterdir()) == []


def test_reports(litert_models):
    reports = {quantize: litert_models["vgg_aib_qt", quantize] for quantize in TOLERANCE}
    assert reports["float16"].bytes < 0.7 * reports[None].bytes
    assert reports["dynamic"].bytes < 0.6 * reports[None].bytes
    assert reports["int8"].bytes < 0.5 * reports[None].bytes
    assert reports[None].max_difference["attention"] < 1e-4
    assert reports["float16"].max_difference["attention"] < 1e-2
    assert reports["dynamic"].cosine["attention"] > 0.99
    assert reports["int8"].cosine["attention"] > 0.99
    assert reports["int8"].images == 16


@pytest.mark.slow
def test_a_new_wrn_passes_the_check(tmp_path):
    # Its maps are steep: a rounding error moves a single position by more than 1e-4.
    report = export.to_litert(zoo.wrn_aib_qt(width=0.0625), tmp_path / "model.tflite")
    assert report.same_class == 1.0


def test_a_model_in_mixed_precision_is_exported_in_float32(images, expected, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = small_classifier()
    report = export.to_litert(model, tmp_path / "model.tflite")
    found, wanted = litert.run(report.path, images), expected(model, images)
    for output in ("probabilities", "attention"):
        np.testing.assert_allclose(found[output], wanted[output], atol=1e-2)
