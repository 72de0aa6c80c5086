"""Saliency maps of Keras models that are not ours: nested, Sequential, ending in a softmax."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from aib_keras import explain, metrics
from aib_keras.explain import class_activation
from aib_keras.models import class_outputs

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 32, 32, 3)).astype("float32")
APPLICATIONS = {
    "MobileNetV3Small": (),
    **dict.fromkeys(("ResNet50V2", "EfficientNetV2B0", "ConvNeXtTiny"), pytest.mark.slow),
}


def small_classifier(kind):
    """One network of 4 classes in several forms, and what turns its outputs into logits."""
    keras.utils.set_random_seed(0)
    features = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="first"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="last"),
        ]
    )
    inputs = keras.Input((32, 32, 3))
    head = [layers.GlobalAveragePooling2D(), layers.Dense(4, name="classes")]
    if kind == "logits":
        return keras.Sequential([inputs, *features.layers, *head])
    if kind == "nested":
        return keras.Model(inputs, head[1](head[0](features(inputs))))
    if kind == "softmax":
        head[1] = layers.Dense(4, "softmax", name="classes")
        return keras.Sequential([inputs, *features.layers, *head])
    if kind == "softmax layer":
        return keras.Sequential([inputs, *features.layers, *head, layers.Softmax()])
    if kind == "softmax operation":
        return keras.Model(inputs, ops.softmax(head[1](head[0](features(inputs)))))
    if kind == "softmax of another library":
        head[1] = layers.Dense(4, another_softmax, name="classes")
        return keras.Sequential([inputs, *features.layers, *head])
    if kind == "softmax before the last layer":
        last = layers.Activation("linear", dtype="float32")
        return keras.Sequential([inputs, *features.layers, *head, layers.Softmax(), last])
    if kind == "list of one output":
        return keras.Model([inputs], [head[1](head[0](features(inputs)))])
    if kind.startswith("subclassed"):
        inner = keras.Sequential([inputs, *features.layers, *head, layers.Softmax()])
        return Subclassed(inner) if kind == "subclassed" else Gated(inner)
    inner = keras.Sequential([keras.Input((7, 7, 8)), *head, layers.Softmax()])
    return keras.Model(inputs, inner(features(inputs)))


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.build((None, 32, 32, 3))

    def call(self, images):
        return self.inner(images)


class Gated(keras.Model):
    """With a second softmax, which changes nothing but must stay."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.gate = inner, layers.Softmax()
        self.build((None, 32, 32, 3))

    def call(self, images):
        probabilities = self.inner(images)
        return probabilities * ops.sum(self.gate(probabilities), axis=-1, keepdims=True)


class MeanOfTwo(Subclassed):
    """Whose probabilities are not those of its softmax."""

    def call(self, images):
        return (self.inner(images) + self.inner(0 * images)) / 2


def another_softmax(x):
    exponentials = ops.exp(x - ops.max(x, axis=-1, keepdims=True))
    return exponentials / ops.sum(exponentials, axis=-1, keepdims=True)


KINDS = ["logits", "nested", "softmax", "softmax layer", "softmax in a nested model"]
KINDS += ["softmax operation", "softmax before the last layer", "subclassed", "list of one output"]
# Their softmax cannot be left out: gradients are those of the logarithm of the probabilities.
OUT_OF_REACH = ["softmax of another library", "subclassed with a gate"]
KINDS += OUT_OF_REACH


@pytest.fixture(scope="module")
def same_weights():
    """The models of all kinds, with the same weights."""
    models = {kind: small_classifier(kind) for kind in KINDS}
    logits = small_classifier("logits")
    outputs = ops.log_softmax(logits.outputs[0])
    models["logarithms"] = keras.Model(logits.inputs, outputs)
    weights = models["logits"].get_weights()
    for model in models.values():
        model.set_weights(weights)
    return models


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(
    "saliency",
    [
        explain.grad_cam,
        pytest.param(explain.grad_cam_plus_plus, marks=pytest.mark.slow),
        explain.gradient_map,
    ],
)
def test_the_form_of_a_model_does_not_matter(kind, saliency, same_weights):
    reference = "logarithms" if kind in OUT_OF_REACH else "logits"
    settings = {} if saliency is explain.gradient_map else {"layer": "last"}
    shown = []
    for class_index in (None, 2, [0, 1, 3]):
        found, expected = (
            saliency(same_weights[each], IMAGES, class_index=class_index, **settings)
            for each in (kind, reference)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        shown.append(expected.any())
    # With some weights, nothing speaks for one of the classes.
    assert any(shown)


def test_probabilities_of_several_predictions_are_taken_as_they_are(same_weights):
    model = MeanOfTwo(same_weights["softmax layer"])
    expected = np.log(model.predict(IMAGES, verbose=0))
    found = ops.convert_to_numpy(class_outputs.logits(model, IMAGES))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_softmax_that_is_used_twice_stays_where_it_is_a_gate():
    keras.utils.set_random_seed(0)
    softmax = layers.Softmax()
    inputs = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(inputs))
    gated = layers.Multiply()([pooled, softmax(pooled)])
    model = keras.Model(inputs, softmax(layers.Dense(4)(gated)))
    images = RNG.random((5, 8, 8, 3)).astype("float32")
    found = ops.convert_to_numpy(class_outputs.logits(model, images))
    expected = np.log(model.predict(images, verbose=0))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_float16_does_not_round_gradients_of_pixels_to_zero():
    keras.utils.set_random_seed(0)
    images = RNG.integers(0, 256, (2, 96, 96, 3)).astype("float32")
    found, weights = {}, None
    for policy in ("float32", "mixed_float16"):
        settings = {"strides": 2, "activation": "relu", "dtype": policy}
        network = [layers.Conv2D(8, 3, **settings) for _ in range(3)]
        head = [layers.GlobalAveragePooling2D(dtype=policy), layers.Dense(4, dtype="float32")]
        scale = layers.Rescaling(1 / 255, dtype=policy)
        model = keras.Sequential([keras.Input((96, 96, 3)), scale, *network, *head])
        weights = weights or model.get_weights()
        model.set_weights(weights)
        found[policy] = explain.gradient_map(model, images, class_index=1)
    whole, half = found.values()
    assert ((half == 0) == (whole == 0)).mean() > 0.999
    assert np.sum(half * whole) > 0.999 * np.linalg.norm(half) * np.linalg.norm(whole)


def test_pooled_gradients_are_float32_whatever_the_policy(same_weights):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        pooled = explain.gradient_map(same_weights["logits"], IMAGES, map_shape=(8, 8))
    finally:
        keras.config.set_dtype_policy("float32")
    assert pooled.dtype == "float32"


def test_channels_first_are_refused():
    inputs = keras.Input((3, 16, 20))
    pooled = layers.GlobalAveragePooling2D(data_format="channels_first")(inputs)
    model = keras.Model(inputs, layers.Dense(4)(pooled))
    images = RNG.random((2, 3, 16, 20)).astype("float32")
    for call in (explain.grad_cam, explain.gradient_map):
        with pytest.raises(ValueError, match="channels last are expected here"):
            call(model, images)
    with pytest.raises(ValueError, match="channels last are expected here"):
        metrics.deletion(model, images, RNG.random((2, 3, 4)), verbose=0)


def test_a_model_is_as_it_was_afterwards(same_weights):
    for model in same_weights.values():
        before = model.predict(IMAGES, verbose=0)
        explain.grad_cam(model, IMAGES)
        np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), before)


def last_features(model):
    outputs = IMAGES
    for layer in model.layers:
        outputs = layer(outputs)
        if layer.name == "last":
            return ops.convert_to_numpy(outputs)
    raise AssertionError("no layer `last`")


def test_grad_cam_before_global_pooling_is_the_class_activation_map(same_weights):
    model = same_weights["softmax"]
    features = last_features(model)
    weights = ops.convert_to_numpy(model.get_layer("classes").kernel)
    for index in range(4):
        expected = np.maximum(features @ weights[:, index], 0)[..., None] / 49
        found = explain.grad_cam(model, IMAGES, class_index=index)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_grad_cam_plus_plus_is_equation_19(same_weights):
    model = same_weights["logits"]
    features = last_features(model).astype("float64")
    # Behind global average pooling the gradient is the same at each position.
    gradient = ops.convert_to_numpy(model.get_layer("classes").kernel)[:, 1] / 49
    total = features.sum((1, 2), keepdims=True)
    shares = gradient**2 / (2 * gradient**2 + total * gradient**3)
    weights = (shares * np.maximum(gradient, 0) * np.ones((7, 7, 1))).sum((1, 2), keepdims=True)
    expected = np.maximum((features * weights).sum(-1, keepdims=True), 0)
    found = explain.grad_cam_plus_plus(model, IMAGES, class_index=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS[2:])
@pytest.mark.parametrize("score", [metrics.deletion, metrics.insertion])
def test_scores_take_logits_and_probabilities(kind, score, same_weights):
    maps = RNG.random((3, 8, 8))
    for class_index in (None, 1):
        settings = {"steps": 4, "class_index": class_index, "verbose": 0}
        found, expected = (
            score(same_weights[each], IMAGES, maps, **settings) for each in (kind, "logits")
        )
        np.testing.assert_allclose(found["curve"], expected["curve"], rtol=1e-4)


def test_the_features_of_a_residual_network_are_its_sums():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, strides=4, padding="same", name="stem")(inputs)
    branch = layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros", name="branch")(x)
    x = x + branch
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    found = explain.grad_cam(model, IMAGES)
    assert found.any()
    names = [each.name for each in model.operations if each.name.startswith("add")]
    np.testing.assert_array_equal(explain.grad_cam(model, IMAGES, layer=names[0]), found)
    assert explain.per_sample_bottleneck(model, IMAGES, steps=1, samples=1).shape == (3, 8, 8, 1)


def test_the_consistency_of_maps_that_a_function_makes(same_weights):
    model, images = same_weights["softmax"], IMAGES.astype("uint8")
    window = explain.ColorWindow(12)
    found = metrics.consistency(model, images, window, maps=explain.grad_cam, verbose=0)
    perturbed = window(images, first=0)
    pair = [explain.grad_cam(model, each) for each in (images, perturbed)]
    np.testing.assert_allclose(found.similarities, metrics.map_similarity(*pair), rtol=1e-5)
    classes = [model.predict(each, verbose=0).argmax(axis=1) for each in (images, perturbed)]
    np.testing.assert_array_equal(found.unchanged, np.equal(*classes))
    with pytest.raises(TypeError, match="has no method `explain`.*`maps`"):
        metrics.consistency(model, images, window, verbose=0)


def test_consistency_compiles_once_for_all_batches(same_weights, monkeypatch):
    model, images, traced = same_weights["softmax"], IMAGES.astype("uint8"), []
    weights_of = class_activation._GradCAM.weights_of

    def counted(*values):
        traced.append(None)
        return weights_of(*values)

    monkeypatch.setattr(class_activation._GradCAM, "weights_of", counted)
    explain.grad_cam(model, images, batch_size=1)
    once = len(traced)
    arguments = {"maps": explain.grad_cam, "batch_size": 1, "verbose": 0}
    metrics.consistency(model, images, explain.ColorWindow(12), **arguments)
    assert len(traced) == 2 * once


def test_data_sets_give_what_arrays_give(same_weights):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return IMAGES[2 * index : 2 * index + 2], np.zeros(2)

    model, classes = same_weights["nested"], [0, 1, 3]
    tf = pytest.importorskip("tensorflow")
    labelled = tf.data.Dataset.from_tensor_slices((IMAGES, [0, 1, 2])).batch(2)
    for saliency in (explain.grad_cam, explain.gradient_map):
        expected = saliency(model, IMAGES, class_index=classes)
        for images in (labelled, Batches(workers=1)):
            np.testing.assert_allclose(
                saliency(model, images, class_index=classes), expected, rtol=1e-4, atol=1e-6
            )
    assert explain.grad_cam(model, labelled).shape == (3, 7, 7, 1)
    with pytest.raises(ValueError, match="`class_index` must be an integer or 3 integers"):
        explain.grad_cam(model, labelled, class_index=[0, 1, 3, 2])
    with pytest.raises(ValueError, match="`class_index`"):
        explain.grad_cam(model, labelled, class_index=[0, 1])
    with pytest.raises(ValueError, match="no batches"):
        explain.grad_cam(model, iter([]))
    with pytest.raises(TypeError, match="must be an array .* got tuple"):
        explain.grad_cam(model, (IMAGES, np.zeros(3)))


def test_a_data_set_is_traced_once(same_weights, monkeypatch):
    traced = []
    call = keras.layers.GlobalAveragePooling2D.call

    def counted(self, inputs):
        traced.append(inputs)
        return call(self, inputs)

    monkeypatch.setattr(keras.layers.GlobalAveragePooling2D, "call", counted)
    model = small_classifier("logits")
    traced.clear()
    explain.gradient_map(model, IMAGES)
    once = len(traced)
    traced.clear()
    explain.gradient_map(model, iter([IMAGES] * 5))
    assert len(traced) == once


def test_probabilities_in_half_precision_are_recognised():
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    halves = layers.Dense(10, "softmax")(pooled)
    model = keras.Model(inputs, layers.Activation("linear", dtype="float32")(halves))
    images = RNG.random((12, 8, 8, 3)).astype("float32")
    found = metrics.deletion(model, images, RNG.random((12, 2, 2)), steps=2, verbose=0)
    expected = model.predict(images, verbose=0).max(axis=1).mean()
    assert found["curve"][0] == pytest.approx(expected, rel=0.02)


def test_models_that_do_not_return_one_row_of_classes():
    inputs = keras.Input((32, 32, 3), name="images")
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    two = keras.Model(inputs, [layers.Dense(4)(pooled), layers.Dense(4)(pooled)])
    binary = keras.Model(inputs, layers.Dense(1, "sigmoid")(pooled))
    named = keras.Model(inputs, {"classes": layers.Dense(4)(pooled)})
    wrong = (two, "has 2 outputs"), (binary, "at least 2 classes"), (named, "1 outputs in a dict")
    for model, message in wrong:
        for score in (explain.grad_cam, explain.gradient_map):
            with pytest.raises(ValueError, match=message):
                score(model, IMAGES)
        with pytest.raises(ValueError, match=message):
            metrics.deletion(model, IMAGES, RNG.random((3, 4, 4)), verbose=0)


def test_integer_images_have_no_gradient():
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match="takes images as uint8.*dtype float32"):
        explain.gradient_map(model, IMAGES)
    with pytest.raises(ValueError, match="takes images as uint8"):
        explain.fgsm(model, IMAGES, [0, 1, 2], 1)
    inner = keras.Sequential([keras.Input((32, 32, 3)), model])
    with pytest.raises(ValueError, match=f"{model.name} takes images as uint8"):
        explain.gradient_map(inner, IMAGES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=marks) for name, marks in APPLICATIONS.items()]
)
def test_applications(name):
    model = getattr(keras.applications, name)(
        input_shape=(64, 64, 3), weights=None, classes=5, classifier_activation="softmax"
    )
    images = RNG.integers(0, 256, (2, 64, 64, 3)).astype("float32")
    maps = explain.grad_cam(model, images, class_index=3)
    assert maps.shape[0] == 2
    assert maps.shape[1] == maps.shape[2] >= 2
    assert np.isfinite(maps).all()
    assert (maps >= 0).all()
    gradients = explain.gradient_map(model, images, map_shape=(8, 8))
    assert gradients.shape == (2, 8, 8, 1)
    assert gradients.any()
    found = metrics.deletion(model, images, maps, steps=2, verbose=0)
    assert 0 < found["auc"] < 1
