"""IB attention at a layer of models of keras.applications."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from aib_keras.models import AIBClassifier, attach

# A place where each has 4x4 features of 64x64 images.
CUTS = {
    "MobileNetV3Small": "expanded_conv_7_add",
    "ResNet50V2": "conv4_block5_out",
    "EfficientNetV2B0": "block5e_add",
    "ConvNeXtTiny": "convnext_tiny_downsampling_block_1",
}


@functools.cache
def backbone(name):
    application = getattr(keras.applications, name)
    return application(include_top=False, weights=None, input_shape=(64, 64, 3))


def photos(number=2):
    return np.random.default_rng(0).integers(0, 256, (number, 64, 64, 3)).astype("float32")


def small_cnn(pooled=True):
    inputs = x = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(x)
    branch = layers.Conv2D(4, 3, padding="same", name="branch")(x)
    x = layers.Add(name="join")([x, branch])
    x = layers.ReLU(name="last")(x)
    if pooled:
        x = layers.Flatten(name="flat")(x)
        x = layers.Dense(10, activation="softmax", name="classes")(x)
    return keras.Model(inputs, x, name="small")


@pytest.mark.parametrize("name", CUTS)
def test_applications_are_cut(name):
    base = backbone(name)
    model = attach(base, CUTS[name], 5, latent_dim=8)
    assert isinstance(model, AIBClassifier)
    features = model.feature_extractor.output_shape
    assert features == base.get_layer(CUTS[name]).output.shape
    assert features[1:3] == (4, 4)
    assert model.encoder.trunk.input_shape == features
    assert model.encoder.trunk.output_shape == (None, base.output_shape[-1])


def test_preprocessing_is_a_layer():
    scale = keras.applications.mobilenet_v2.preprocess_input
    with pytest.raises(TypeError, match="must be a Keras layer or None.*Rescaling"):
        attach(small_cnn(), "last", 3, preprocessing=scale)


def test_channels_first_are_refused():
    inputs = keras.Input((3, 16, 16))
    outputs = layers.MaxPooling2D(data_format="channels_first", name="pool")(inputs)
    with pytest.raises(ValueError, match="channels last are expected here: pool"):
        attach(keras.Model(inputs, outputs), "pool", 3)


# The others are larger.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "MobileNetV3Small" else pytest.mark.slow) for n in CUTS],
)
def test_applications_with_attention(name, tmp_path):
    model = attach(backbone(name), CUTS[name], 5, latent_dim=8)
    found = model.explain(photos())
    assert found["logits"].shape == (2, 5)
    assert found["attention"].shape == found["attention_quantized"].shape == (2, 4, 4, 1)
    for array in found.values():
        assert np.isfinite(array).all()

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    logits = ops.convert_to_numpy(again(photos()))
    np.testing.assert_allclose(logits, found["logits"], rtol=1e-4, atol=1e-6)


def test_training_changes_the_backbone_and_the_attention():
    base = small_cnn()
    model = attach(base, "join", 3, latent_dim=4)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [ops.convert_to_numpy(w) for w in (base.get_layer("stem").kernel, *model.weights)]
    history = model.fit(np.ones((4, 16, 16, 3)), np.array([0, 1, 2, 0]), verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert history["kl_nats"][0] > 0
    assert not np.array_equal(ops.convert_to_numpy(base.get_layer("stem").kernel), before[0])
    head = ops.convert_to_numpy(model.attention.head.kernel)
    assert not any(np.array_equal(head, value) for value in before[1:])


@pytest.mark.slow
def test_an_application_trains():
    model = attach(backbone("MobileNetV3Small"), CUTS["MobileNetV3Small"], 3, latent_dim=4)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(photos(4), np.array([0, 1, 2, 0]), verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_without_modulation_it_is_the_backbone():
    base = small_cnn()
    model = attach(base, "join", 3, quantized=False, modulation="mask")
    # A map of ones: the sigmoid of a large bias.
    model.attention.head.set_weights([np.zeros((3, 3, 4, 1)), np.array([100.0])])
    images = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype("float32")
    modulated = model.attention(model.feature_extractor(images))
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.encoder.trunk(modulated)),
        ops.convert_to_numpy(base(images)),
        rtol=1e-5,
    )


def test_a_backbone_that_ends_in_a_map_is_pooled():
    for name in ("join", "last"):
        model = attach(small_cnn(pooled=False), name, 3, latent_dim=4)
        assert model.encoder.trunk.output_shape == (None, 4)
        assert model(np.zeros((1, 16, 16, 3), "float32")).shape == (1, 3)


def test_several_attachments_to_one_backbone_and_its_calls_elsewhere():
    base = small_cnn()
    base.get_layer("join")([keras.Input((16, 16, 4)), keras.Input((16, 16, 4))])
    images = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype("float32")
    expected = ops.convert_to_numpy(base(images))
    for name in ("stem", "join", "stem"):
        assert attach(base, name, 3)(images).shape == (2, 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(base(images)), expected)


def test_a_layer_that_was_called_elsewhere_first():
    conv, inputs = layers.Conv2D(4, 3, name="conv"), keras.Input((16, 16, 3))
    conv(keras.Input((8, 8, 3)))
    base = keras.Model(inputs, layers.ReLU()(conv(inputs)))
    assert attach(base, "conv", 3).feature_extractor.output_shape == (None, 14, 14, 4)


def test_a_layer_that_is_used_twice():
    conv, inputs = layers.Conv2D(3, 3, name="conv"), keras.Input((16, 16, 3))
    base = keras.Model(inputs, conv(conv(inputs)))
    with pytest.raises(ValueError, match="uses 2 outputs of it, expected one.*none of its layers"):
        attach(base, "conv", 3)


def test_sequential_models_and_settings():
    base = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Conv2D(4, 3, name="conv"), layers.Flatten()], name="seq"
    )
    model = attach(
        base,
        "conv",
        3,
        preprocessing=layers.Rescaling(1 / 255),
        num_anchors=7,
        latent_dim=6,
        beta=0.2,
        modulation="mask",
        stochastic=False,
        quantization_weight=0.3,
    )
    assert model.name == "seq_aib_qt"
    quantizer = model.attention.quantizer
    assert (quantizer.num_anchors, quantizer.quantization_weight) == (7, 0.3)
    assert (model.encoder.latent_dim, model.encoder.initial_beta) == (6, 0.2)
    assert (model.attention.modulation, model.stochastic) == ("mask", False)
    assert model(np.zeros((1, 16, 16, 3), "uint8")).shape == (1, 3)


def test_images_of_any_size():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    model = attach(keras.Model(inputs, layers.ReLU()(x)), "conv", 3)
    for side in (8, 12):
        assert model(np.zeros((1, side, side, 3), "float32")).shape == (1, 3)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("jion", "has no layer 'jion'. Did you mean 'join'"),
        ("branch", "a gate bypasses it. It can be cut at: stem, join, last"),
        ("flat", r"shape \(None, 256\).*It can be cut at: stem, join, last"),
        ("classes", r"shape \(None, 10\).*It can be cut at: stem, join, last"),
    ],
)
def test_places_where_it_cannot_be_cut(layer, message):
    with pytest.raises(ValueError, match=message):
        attach(small_cnn(), layer, 3)


def test_the_input_cannot_be_cut():
    base = small_cnn()
    with pytest.raises(ValueError, match="it is the input"):
        attach(base, base.layers[0].name, 3)


def test_a_gate_and_a_residual_of_applications():
    with pytest.raises(ValueError, match="(?s)or a gate bypasses it.*block5d_add, block5e_add"):
        attach(backbone("EfficientNetV2B0"), "block5e_se_expand", 3)
    with pytest.raises(ValueError, match="conv4_block5_out"):
        attach(backbone("ResNet50V2"), "conv4_block5_2_relu", 3)


def test_models_without_a_graph():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    for base in (Subclassed(), keras.Sequential([layers.Conv2D(4, 3, name="conv")]), "ResNet50"):
        with pytest.raises(ValueError, match="has none. Pass a functional model"):
            attach(base, "conv", 3)


def test_models_with_several_outputs_or_tokens():
    base = small_cnn()
    with pytest.raises(ValueError, match="one input and one output"):
        attach(keras.Model(base.input, [base.output, base.get_layer("join").output]), "stem", 3)
    tokens = layers.Reshape((64, 4))(base.get_layer("join").output)
    with pytest.raises(ValueError, match=r"\(None, 64, 4\)"):
        attach(keras.Model(base.input, tokens), "stem", 3)


def test_wrong_settings_and_values():
    with pytest.raises(TypeError, match="'modulaton'"):
        attach(small_cnn(), "join", 3, modulaton="mask")
    with pytest.raises(ValueError, match="stochastic"):
        attach(small_cnn(), "join", 3, stochastic="no")
    with pytest.raises(ValueError, match="num_classes"):
        attach(small_cnn(), "join", 1)
    with pytest.raises(ValueError, match="latent_dim"):
        attach(small_cnn(), "join", 3, latent_dim=0)


def test_without_a_name_the_last_map_of_a_sixteenth_is_chosen_and_named(capsys):
    backbone = keras.applications.MobileNetV3Small((96, 96, 3), include_top=False, weights=None)
    model = attach(backbone, None, 3)
    assert model.feature_extractor.output_shape[1:3] == (6, 6)
    name = capsys.readouterr().out.split("'")[1]
    chosen = attach(backbone, name, 3)
    assert chosen.feature_extractor.output_shape == model.feature_extractor.output_shape


def test_without_a_name_and_a_size_there_is_no_choice():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    backbone = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    with pytest.raises(ValueError, match="images of any size.*Pass `layer_name`"):
        attach(backbone, None, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet", "DenseNet"])
def test_backbones_of_keras_hub(name):
    hub = pytest.importorskip("keras_hub", reason="a user's choice, which no extra installs")
    if name == "ResNet":
        base = hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[3],
            stackwise_num_filters=[64, 128],
            stackwise_num_blocks=[1, 1],
            stackwise_num_strides=[1, 2],
            block_type="basic_block",
            image_shape=(64, 64, 3),
        )
    else:
        base = hub.models.DenseNetBackbone(stackwise_num_repeats=[1, 1], image_shape=(64, 64, 3))
    found = attach(base, None, 5, latent_dim=8).explain(photos())
    assert found["logits"].shape == (2, 5)
    assert found["attention"].shape[1] in (4, 8)
