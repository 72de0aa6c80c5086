import keras
import numpy as np
import pytest
from small import small_classifier

from aib_keras import export
from aib_keras.models import attach

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

# The Wide-ResNet is the deepest: the graphs of its export take the longest to be made.
NAMES = (
    pytest.param("vgg", marks=pytest.mark.slow),
    "vgg_aib_qt",
    pytest.param("wrn_aib_qt", marks=pytest.mark.slow),
)
MAPS = {"attention": (None, 16, 16, 1), "attention_quantized": (None, 16, 16, 1)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 5])
def test_outputs_are_the_models(name, batch, models, saved_models, images, expected):
    loaded = tf.saved_model.load(saved_models[name].path)
    found = loaded.signatures["serving_default"](images=tf.constant(images[:batch]))
    wanted = expected(models[name], images[:batch])
    assert set(found) == set(wanted)
    for output, value in wanted.items():
        np.testing.assert_allclose(found[output], value, atol=1e-4, err_msg=output)


@pytest.mark.parametrize("name", NAMES)
def test_signature(name, saved_models):
    loaded = tf.saved_model.load(saved_models[name].path)
    explain = ["explain"] if "aib" in name else []
    assert list(loaded.signatures) == ["serving_default", "classify_bytes", *explain]
    signature = loaded.signatures["serving_default"]
    assert signature.structured_input_signature == (
        (),
        {"images": tf.TensorSpec((None, 32, 32, 3), tf.uint8, name="images")},
    )
    shapes = {"probabilities": (None, 10), "logits": (None, 10), **(MAPS if "aib" in name else {})}
    outputs = signature.structured_outputs
    assert {key: tuple(spec.shape) for key, spec in outputs.items()} == shapes
    assert {spec.dtype for spec in outputs.values()} == {tf.float32}


@pytest.mark.parametrize("name", NAMES)
def test_graph_neither_writes_variables_nor_draws(name, saved_models):
    loaded = tf.saved_model.load(saved_models[name].path)
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    ops = {node.op for function in graph.library.function for node in function.node_def}
    assert "Conv2D" in ops
    assert not {op for op in ops if "Assign" in op or "Random" in op}


def test_report(saved_models, models):
    report = saved_models["vgg_aib_qt"]
    assert set(report.max_difference) == {"probabilities", "logits", *MAPS}
    assert max(report.max_difference.values()) < 1e-4
    assert min(report.cosine.values()) > 0.9999
    assert report.same_class == 1.0
    assert report.images == 16
    assert report.bytes > 4 * models["vgg_aib_qt"].count_params()


def test_export_leaves_the_model_as_it_was(images, tmp_path):
    def state():
        return [v.numpy() for v in [*model.variables, *model.metrics_variables]]

    model = small_classifier()
    model(images)
    before = state()
    export.to_saved_model(model, tmp_path / "model")
    for old, new in zip(before, state(), strict=True):
        np.testing.assert_array_equal(old, new)
    # A symbolic tensor left in the losses would fail here.
    assert [float(loss) for loss in model.losses] == []


@pytest.mark.slow
def test_a_model_in_mixed_precision_is_exported_in_float32(images, expected, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = small_classifier()
    report = export.to_saved_model(model, tmp_path / "model")
    assert model.dtype_policy.name == "mixed_bfloat16"
    loaded = tf.saved_model.load(report.path)
    found = loaded.signatures["serving_default"](images=tf.constant(images))
    assert {value.dtype for value in found.values()} == {tf.float32}
    wanted = expected(model, images)
    for output in ("probabilities", "attention"):
        np.testing.assert_allclose(found[output], wanted[output], atol=1e-2, err_msg=output)


def small_backbone(channels):
    return keras.Sequential(
        [keras.Input((16, 16, channels)), keras.layers.Conv2D(4, 3, strides=2, name="features")]
    )


def attached(backbone, preprocessing=None):
    return attach(backbone, "features", num_classes=3, latent_dim=4, preprocessing=preprocessing)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_a_backbone_in_another_precision_is_exported_in_float32(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    backbone = small_backbone(3)
    keras.config.set_dtype_policy("float32")
    report = export.to_saved_model(attached(backbone), tmp_path / "model")
    graph = tf.saved_model.load(report.path).signatures["serving_default"].graph.as_graph_def()
    nodes = [node for function in graph.library.function for node in function.node_def]
    convolutions = [node.attr["T"].type for node in nodes if node.op == "Conv2D"]
    assert set(convolutions) == {tf.float32.as_datatype_enum}


def test_a_model_of_grey_images_takes_no_files(tmp_path):
    model = attached(small_backbone(1), keras.layers.Rescaling(1 / 255))
    report = export.to_saved_model(model, tmp_path / "model")
    assert set(tf.saved_model.load(report.path).signatures) == {"serving_default", "explain"}


def test_without_preprocessing_it_takes_normalised_images_and_no_files(images, expected, tmp_path):
    model = small_classifier(quantized=False, preprocessing=None)
    report = export.to_saved_model(model, tmp_path / "model")
    normalised = (images / 128 - 1).astype("float32")
    loaded = tf.saved_model.load(report.path)
    found = loaded.signatures["serving_default"](images=tf.constant(normalised))
    wanted = expected(model, normalised)
    assert set(loaded.signatures) == {"serving_default", "explain"}
    assert set(found) == set(wanted) == {"probabilities", "logits", "attention"}
    np.testing.assert_allclose(found["attention"], wanted["attention"], atol=1e-4)
