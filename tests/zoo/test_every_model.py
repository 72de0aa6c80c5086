"""What every model of the zoo does: a test per model, and one of its graphs."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras import export, zoo

CLASSES = 7
IMAGENET_SIZE = ("vgg16", "wrn50", "efficientnet")
# Height and width of `attention` for the inputs below, and the names of what else `explain` gives
# beside the logits.
LATENT = {"attention_std", "latent_mean", "latent_std", "kl_nats"}
EXPLAINED = {
    "vgg_gap": (8, set()),
    "vgg_pan": (16, {"attention_1", "attention_2", "attention_3"}),
    "vgg_att2": (16, {"attention_1", "attention_2"}),
    "vgg_att3": (16, {"attention_1", "attention_2", "attention_3"}),
    "vgg_aib": (16, LATENT),
    "vgg_aib_qt": (16, {*LATENT, "attention_quantized"}),
    "wrn_abn": (16, {"branch_logits"}),
    "wrn_aib": (16, LATENT),
    "wrn_aib_qt": (16, {*LATENT, "attention_quantized"}),
    "vgg16_aib": (4, LATENT),
    "vgg16_aib_qt": (4, {*LATENT, "attention_quantized"}),
    "wrn50_2_aib": (4, LATENT),
    "efficientnet_lite0_aib": (4, LATENT),
    "efficientnet_lite0_aib_qt": (4, {*LATENT, "attention_quantized"}),
    "wrn50_2_aib_qt": (4, {*LATENT, "attention_quantized"}),
}
WITHOUT_MAP = {
    "vgg_dvib": LATENT - {"attention_std"},
    **dict.fromkeys(("vgg", "wrn", "vgg16", "wrn50_2", "efficientnet_lite0"), set()),
}


# Making the graphs of one model takes seconds, and most are another one with more or less in it.
QUICK = {"vgg_gap", "vgg_att3", "vgg_dvib", "efficientnet_lite0_aib_qt"}
# JAX compiles a deep model for minutes.
QUICK_ON_JAX = {"vgg_gap"}


def cases(quick):
    names = zoo.list_models()
    slow = {*names} - (QUICK_ON_JAX if keras.backend.backend() == "jax" else quick)
    return [pytest.param(name, marks=pytest.mark.slow if name in slow else ()) for name in names]


def build(name):
    side = 64 if name.startswith(IMAGENET_SIZE) else 32
    settings = {"latent_dim": 8} if "aib" in name or "dvib" in name else {}
    model = zoo.get(name)(num_classes=CLASSES, input_shape=(side, side, 3), width=0.125, **settings)
    images = np.random.default_rng(0).integers(0, 256, (4, side, side, 3)).astype("uint8")
    return model, images


def numpy_logits(model, images):
    return ops.convert_to_numpy(model(images, training=False))


def test_the_lists_above_are_complete():
    assert {*EXPLAINED, *WITHOUT_MAP} == set(zoo.list_models())


@pytest.mark.parametrize("name", cases(QUICK))
def test_model(name, gradients, settled, tmp_path):
    model, images = build(name)
    settled(model, images.astype("float32"))
    assert model.name == name
    logits = numpy_logits(model, images)
    assert logits.shape == (4, CLASSES)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()

    check_round_trip(model, images, tmp_path)
    check_explanation(name, model, images)
    check_gradients(model, images, gradients)


@pytest.mark.parametrize("name", cases(set()))
def test_model_is_trained_and_exported(name, settled, tmp_path):
    model, images = build(name)
    settled(model, images.astype("float32"))
    check_one_step(model, images)
    check_round_trip(model, images, tmp_path)
    check_explanation(name, model, images)
    if keras.backend.backend() == "tensorflow":
        check_exports(model, images, tmp_path)


def check_gradients(model, images, gradients):
    labels = np.arange(4)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def loss():
        return model.compute_loss(images, labels, model(images, training=True))

    weights = model.trainable_weights
    for weight, gradient in zip(weights, gradients(loss, [], weights), strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        # Batch norm takes the bias before it away, and leaves rounding errors of its gradient.
        if not weight.path.endswith("bias"):
            assert np.any(gradient), weight.path


def check_one_step(model, images):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logs = model.fit(images, np.arange(4), batch_size=4, verbose=0).history
    for metric, values in logs.items():
        assert np.isfinite(values).all(), metric
    for weight in model.weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all(), weight.path


def check_round_trip(model, images, folder):
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(numpy_logits(loaded, images), numpy_logits(model, images))


def check_explanation(name, model, images):
    found = model.explain(images)
    if name in WITHOUT_MAP:
        assert set(found) == {"logits", *WITHOUT_MAP[name]}
    else:
        side, others = EXPLAINED[name]
        assert set(found) == {"logits", "attention", *others}
        assert found["attention"].shape == (4, side, side, 1)
    np.testing.assert_allclose(found["logits"], numpy_logits(model, images), rtol=1e-4, atol=1e-4)
    for key, value in found.items():
        assert np.isfinite(value).all(), key


def check_exports(model, images, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Each is checked against the model, and an ExportError if it disagrees.
        reports = [
            export.to_saved_model(model, folder / "saved_model"),
            export.to_litert(model, folder / "model.tflite"),
        ]
    for report in reports:
        assert {"probabilities", "logits", *model.map_names} <= set(report.max_difference)
