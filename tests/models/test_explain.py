import functools
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras import explain, zoo
from aib_keras.models import PlainClassifier

SHAPES = {
    "logits": (5, 3),
    "attention": (5, 4, 4, 1),
    "attention_std": (5, 4, 4, 1),
    "attention_quantized": (5, 4, 4, 1),
    "latent_mean": (5, 6),
    "latent_std": (5, 6),
    "kl_nats": (5,),
}


@pytest.fixture(scope="module")
def zoo_model():
    """`zoo_model(name)`: a narrow model of the zoo, made once."""
    return functools.cache(lambda name: zoo.create(name, width=0.03))


@pytest.mark.parametrize("quantizer", [False, True])
def test_names_shapes_dtypes_and_ranges(make_classifier, images, quantizer):
    found = make_classifier(quantizer=quantizer).explain(images)
    expected = {k: v for k, v in SHAPES.items() if quantizer or k != "attention_quantized"}
    assert {name: array.shape for name, array in found.items()} == expected
    for name, array in found.items():
        assert isinstance(array, np.ndarray), name
        assert array.dtype == "float32", name
    assert found["attention"].min() > 0
    assert found["attention"].max() < 1
    assert found["attention_std"].min() > 0
    assert found["latent_std"].min() > 0
    assert found["kl_nats"].min() > 0


def test_values_belong_together(make_classifier, images):
    model = make_classifier()
    found = model.explain(images)
    np.testing.assert_allclose(
        found["logits"], ops.convert_to_numpy(model(images)), rtol=1e-5, atol=1e-6
    )
    anchors = ops.convert_to_numpy(model.attention.quantizer.anchors)
    assert np.isin(found["attention_quantized"], anchors).all()
    mean, std = found["latent_mean"].astype("float64"), found["latent_std"].astype("float64")
    kl = np.sum(0.5 * (mean**2 + std**2 - 1) - np.log(std), axis=-1)
    np.testing.assert_allclose(found["kl_nats"], kl, rtol=1e-4)


def test_batch_size_does_not_matter(make_classifier, images):
    model = make_classifier()
    expected = model.explain(images)
    for batch_size in (1, 2, 5):
        for name, array in model.explain(images, batch_size=batch_size).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


class Batches(keras.utils.PyDataset):
    """Batches of images and labels."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index], np.zeros(len(self.batches[index]), "int32")


@pytest.mark.parametrize("method", ["explain", "predict_mc"])
def test_batches_are_images_too(make_classifier, images, method):
    model = make_classifier()
    found = getattr(model, method)(Batches([images[:3], images[3:]]))
    expected = getattr(model, method)(images, batch_size=3)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("method", ["explain", "predict_mc"])
def test_batches_are_checked_as_images_are(make_classifier, images, method):
    model = make_classifier()
    model(images)
    with pytest.raises(ValueError, match=r"takes images of shape \(batch, 8, 8, 3\)"):
        getattr(model, method)(Batches([images[..., :1]]))
    with pytest.raises(ValueError, match="needs finite images"):
        getattr(model, method)(Batches([np.full((2, 8, 8, 3), np.nan, "float32")]))


def test_tensors_are_images_too(make_classifier, images):
    model = make_classifier()
    expected = model.explain(images)["attention"]
    found = model.explain(ops.convert_to_tensor(images))["attention"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_new_weights_are_seen(make_classifier, images):
    model = make_classifier()
    model.explain(images)
    model.attention.head.bias.assign([3.0])
    found = model.explain(images)
    assert found["attention"].mean() > 0.8
    np.testing.assert_allclose(
        found["logits"], ops.convert_to_numpy(model(images)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("change", ["compile", "quantize"])
def test_layers_that_compute_anew_are_seen(make_classifier, images, change):
    model = make_classifier()
    before = model.explain(images)["logits"]
    model.predict_mc(images, 2, seed=0)
    explain.grad_cam(model, images)
    if change == "quantize":
        with warnings.catch_warnings():
            # Of layers that stay as they are.
            warnings.simplefilter("ignore")
            model.quantize("int8")
    else:
        dense = model.decoder
        dense.enable_lora(2)
        model.compile()
        for kernel in (dense.lora_kernel_a, dense.lora_kernel_b):
            kernel.assign(np.ones(kernel.shape))
    after = model.explain(images)["logits"]
    assert np.abs(after - before).max() > 1e-5
    np.testing.assert_allclose(after, model.predict(images, verbose=0), rtol=1e-4, atol=1e-5)
    assert np.isfinite(model.predict_mc(images, 2, seed=0)["logits"]).all()


def test_neither_weights_nor_noise_of_training_are_touched(make_classifier, images):
    model = make_classifier()
    model(images)
    before = [ops.convert_to_numpy(variable) for variable in model.variables]
    metrics = {id(variable) for variable in model.metrics_variables}
    model.explain(images)
    model.predict_mc(images)
    for variable, value in zip(model.variables, before, strict=True):
        if id(variable) not in metrics:
            np.testing.assert_array_equal(ops.convert_to_numpy(variable), value, variable.path)


def test_a_single_image_needs_a_batch_axis(make_classifier, images):
    model = make_classifier()
    for method in (model.explain, model.predict_mc):
        with pytest.raises(ValueError, match=r"(?s)batch.*\(8, 8, 3\).*images\[None\]"):
            method(images[0])


def test_no_image_is_an_error(make_classifier, images):
    with pytest.raises(ValueError, match="at least one image"):
        make_classifier().explain(images[:0])


def test_images_with_their_labels_are_an_error(make_classifier, images):
    with pytest.raises(TypeError, match="must be an array .* got tuple"):
        make_classifier().explain((images, np.zeros(len(images))))


def test_every_zoo_model_explains_what_it_has():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    plain = zoo.vgg(width=0.03)
    assert plain.explain(images).keys() == {"logits"}
    assert plain.attention is plain.encoder is plain.quantizer is None
    bottleneck = zoo.vgg_dvib(width=0.03, latent_dim=4)
    found = bottleneck.explain(images)
    assert found.keys() == {"logits", "latent_mean", "latent_std", "kl_nats"}
    np.testing.assert_allclose(
        found["logits"], keras.ops.convert_to_numpy(bottleneck(images)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2, 32, 32, 1), "np.repeat"),
        ((2, 32, 32, 4), r"\[\.\.\., :3\]"),
        ((2, 3, 32, 32), "np.transpose"),
        ((2, 24, 32, 3), "Resize"),
    ],
)
@pytest.mark.parametrize("method", ["__call__", "explain", "predict_mc", "predict"])
def test_images_of_another_shape_are_an_error_before_the_graph_runs(
    shape, advice, method, zoo_model
):
    model = zoo_model("vgg_aib_qt")
    with pytest.raises(ValueError, match=rf"\(batch, 32, 32, 3\), got .*{advice}") as error:
        getattr(model, method)(np.zeros(shape, "uint8"))
    assert "Graph execution error" not in str(error.value)


@pytest.mark.parametrize("name", ["vgg", "vgg_gap", "vgg_pan", "vgg_dvib"])
@pytest.mark.parametrize("method", ["__call__", "explain", "predict"])
def test_images_with_nan_are_an_error(name, method, zoo_model):
    model = zoo_model(name)
    images = np.full((3, 32, 32, 3), 128, "float32")
    images[1, 4, 5, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 3 have NaN or infinity in them, the first at index"):
        getattr(model, method)(images)


def test_explain_works_before_and_after_compile_and_fit(make_classifier, images):
    model = make_classifier()
    model.explain(images)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    model.fit(images, np.arange(5) % 3, verbose=0)
    found = model.explain(images)["logits"]
    np.testing.assert_allclose(found, model.predict(images, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["vgg", "vgg_dvib", "vgg_gap", "vgg_aib"])
def test_frozen_features_are_the_layers_up_to_the_features(name):
    model = zoo.create(name, width=0.03)
    before = {variable.path for variable in model.trainable_variables}
    model.freeze("features")
    after = {variable.path for variable in model.trainable_variables}
    blocks = {path.split("block")[1][0] for path in before - after}
    # IB attention comes after the first block, class activation maps after the last.
    assert blocks == (set("123") if name == "vgg_gap" else {"1"})
    assert any("logits" in path for path in after)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite0_aib"])
def test_a_frozen_backbone_leaves_attention_bottleneck_and_classifier(name):
    model = zoo.create(name, input_shape=(48, 48, 3), width=0.1)
    model.freeze("backbone")
    trained = {variable.path.split("/")[-2] for variable in model.trainable_variables}
    expected = {"logits"}
    if name.endswith("aib"):
        expected |= {"hidden", "head", "std_conv", "linear"}
    assert trained == expected
    if name.endswith("aib"):
        assert not model.encoder.trunk.trainable


def test_all_but_the_classifier_of_class_activation_maps_is_backbone():
    model = zoo.vgg_gap(width=0.03)
    model.freeze("backbone")
    assert {variable.path.split("/")[-2] for variable in model.trainable_variables} == {"logits"}


@pytest.mark.parametrize("name", ["vgg_att2", "vgg_pan", "wrn_abn"])
def test_a_backbone_that_cannot_be_frozen_stays_as_it_is(name):
    model = zoo.create(name, width=0.03)
    before = [variable.path for variable in model.trainable_variables]
    with pytest.raises(ValueError, match="no backbone apart from its classifier"):
        model.freeze("backbone")
    assert [variable.path for variable in model.trainable_variables] == before


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite0_aib"])
def test_frozen_batch_norms_keep_their_statistics_in_training(name):
    model = zoo.create(name, input_shape=(48, 48, 3), width=0.1)
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    model.freeze("batch_norm")
    before = [norm.get_weights() for norm in norms]
    rng = np.random.default_rng(0)
    model(rng.integers(0, 256, (4, 48, 48, 3), dtype="uint8"), training=True)
    for norm, weights in zip(norms, before, strict=True):
        for now, then in zip(norm.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)
    kept = {layer.split("/")[-2] for layer in (v.path for v in model.trainable_variables)}
    assert {"stem", "head", "logits"} < kept
    assert not any("_bn" in layer for layer in kept)


def test_features_that_are_not_there_cannot_be_frozen():
    with pytest.raises(ValueError, match="has no batch norm"):
        PlainClassifier(keras.layers.Dense(2)).freeze("batch_norm")
    model = PlainClassifier(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="has no layers before its features"):
        model.freeze("features")
