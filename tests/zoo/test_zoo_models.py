"""What the zoo's functions promise: names, arguments, shapes, sizes."""

import inspect

import keras
import numpy as np
import pytest
from golden.reference_weights import read_shapes
from keras import ops

from aib_keras import zoo

HELPERS = {
    "create",
    "get",
    "list_models",
    "load_authors_checkpoint",
    "decode_predictions",
    "weights",
}
AIB_MODELS = ["vgg_aib", "vgg_aib_qt", "wrn_aib", "wrn_aib_qt"]
# All parameters at full size with the default classes and input: batch norm's moving statistics and
# beta included.
PARAMETERS = {
    "efficientnet_lite0": 4_694_024,
    "efficientnet_lite0_aib": 4_392_708,
    "efficientnet_lite0_aib_qt": 4_392_728,
    "vgg": 19_723_082,
    "vgg16": 15_636_488,
    "vgg16_aib": 17_196_308,
    "vgg16_aib_qt": 24_275_752,
    "vgg_aib": 20_051_286,
    "vgg_aib_qt": 20_051_306,
    "vgg_att2": 19_729_226,
    "vgg_att3": 19_865_930,
    "vgg_dvib": 20_048_971,
    "vgg_gap": 14_736_714,
    "vgg_pan": 20_047_693,
    "wrn": 36_497_146,
    "wrn50_2": 67_312_264,
    "wrn50_2_aib": 110_087_572,
    "wrn50_2_aib_qt": 110_087_592,
    "wrn_abn": 64_378_340,
    "wrn_aib": 65_033_355,
    "wrn_aib_qt": 65_033_405,
}
# Tensors of the authors' checkpoints, and in them what is never in the forward pass.
CHECKPOINTS = {
    **{name: f"{name}_c10" for name in ("vgg", "vgg_aib", "vgg_aib_qt", "vgg_att3", "wrn_abn")},
    **{name: f"{name}_c10" for name in ("wrn_aib", "wrn_aib_qt")},
    "vgg16_aib": "cub_vgg_aib_c200",
    "vgg16_aib_qt": "cub_vgg_aib_qt_c200",
    "wrn50_2_aib": "cub_wrn_aib_c200",
    "wrn50_2_aib_qt": "cub_wrn_aib_qt_c200",
}
UNUSED = {
    "wrn_aib": ("block3.", "bn1.", "att_block3.", "bn_att", "att_conv"),
    "wrn50_2_aib": ("layer4.", "tmp_layer.", "att_layer4."),
}


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def test_list_models_is_sorted_and_every_name_a_function():
    names = zoo.list_models()
    assert names == sorted(names)
    public = {name for name in zoo.__all__ if name not in HELPERS}
    functions = {
        name
        for name, value in vars(zoo).items()
        if inspect.isfunction(value) and not name.startswith("_") and name not in HELPERS
    }
    assert set(names) == public == functions
    for name in names:
        assert zoo.get(name) is getattr(zoo, name)
        assert getattr(zoo, name).__name__ == name


@pytest.mark.parametrize("name", zoo.list_models())
def test_docstrings_list_the_settings_and_their_defaults(name):
    function = getattr(zoo, name)
    parameters = inspect.signature(function).parameters
    assert parameters["width"].default == 1.0
    assert ("beta" in parameters) == ("_aib" in name or name == "vgg_dvib")
    assert ("num_anchors" in parameters) == name.endswith("_qt")
    for setting in parameters:
        assert f"{setting}: " in function.__doc__
    assert "1 is the paper's network" in function.__doc__
    assert "0.4 and 1. Default: 1.0." in function.__doc__


def test_list_models_by_pattern():
    assert zoo.list_models("vgg_att?") == ["vgg_att2", "vgg_att3"]
    assert zoo.list_models("no_such*") == []


def test_create_is_the_function_of_that_name():
    model = zoo.create("vgg_aib_qt", num_classes=3, width=0.03, num_anchors=7)
    assert model.name == "vgg_aib_qt"
    assert model.quantizer.num_anchors == 7
    with pytest.raises(ValueError, match="Did you mean 'vgg_aib"):
        zoo.create("vgg_aibqt")


@pytest.mark.parametrize("name", zoo.list_models())
def test_parameters_at_full_size(name):
    # Only shapes: no gigabytes of random weights are drawn.
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(zoo, name)()
    assert model.count_params() == PARAMETERS[name]
    if name in CHECKPOINTS:
        authors = [
            np.prod(shape, dtype=int)
            for tensor, shape in read_shapes(CHECKPOINTS[name]).items()
            if not tensor.startswith(UNUSED.get(name.removesuffix("_qt"), ()))
            and not tensor.endswith(("running_mean", "running_var", "num_batches_tracked"))
        ]
        assert sum(np.prod(w.shape) for w in model.trainable_weights) == sum(authors)


@pytest.mark.parametrize("name", AIB_MODELS)
@pytest.mark.parametrize("modulation", ["residual", "mask"])
def test_explain(name, modulation, small):
    model = small(name, modulation=modulation)
    found = model.explain(noise(2, 32, 32, 3))
    assert found["attention"].shape == found["attention_std"].shape == (2, 16, 16, 1)
    assert found["latent_mean"].shape == (2, 8)
    assert ("attention_quantized" in found) == name.endswith("_qt")
    for array in found.values():
        assert np.isfinite(array).all()


@pytest.mark.parametrize(
    ("name", "side", "kernel"),
    [("vgg", 32, 1), ("vgg", 80, 2), ("vgg_aib_qt", 63, 1), ("vgg_aib_qt", 80, 2)],
)
def test_global_convolution_covers_the_last_map(name, side, kernel, small):
    model = small(name, input_shape=(side, side, 3))
    part = model.backbone if name == "vgg" else model.encoder.trunk
    conv = part.get_layer("global_conv")
    assert conv.kernel.shape[:2] == (kernel, kernel)
    assert conv.output.shape[1:3] == (1, 1)
    assert model(noise(1, side, side, 3)).shape == (1, 10)


@pytest.mark.parametrize("name", ["vgg_aib_qt", "wrn_aib_qt"])
def test_images_need_not_be_square(name, small):
    model = small(name, input_shape=(32, 64, 3))
    assert model.explain(noise(2, 32, 64, 3))["attention"].shape == (2, 16, 32, 1)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("vgg_aib_qt", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        ("wrn_aib", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("vgg", (0.5, 0.5, 0.5), (0.5, 0.25, 0.5)),
    ],
)
def test_preprocessing_normalises_as_the_authors_or_as_told(name, mean, std, small):
    settings = {"mean": mean, "std": std} if name == "vgg" else {}
    model, raw = small(name, **settings), small(name, include_preprocessing=False)
    raw.set_weights(model.get_weights())
    images = noise(2, 32, 32, 3)
    normalised = ((images / 255.0 - mean) / std).astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(images)),
        ops.convert_to_numpy(raw(normalised)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_settings_reach_their_layers():
    model = zoo.vgg_aib_qt(
        width=0.0625,
        latent_dim=5,
        num_anchors=7,
        beta=0.2,
        kl_scale="exp_std",
        modulation="mask",
        quantization_weight=0.3,
        commitment_weight=0.2,
        stochastic=False,
    )
    quantizer, encoder = model.attention.quantizer, model.encoder
    assert (quantizer.num_anchors, encoder.latent_dim) == (7, 5)
    assert float(ops.convert_to_numpy(encoder.beta)) == pytest.approx(0.2)
    assert (encoder.kl_scale, model.attention.modulation) == ("exp_std", "mask")
    assert (quantizer.quantization_weight, quantizer.commitment_weight) == (0.3, 0.2)
    assert model.stochastic is False
    assert model.feature_extractor.output.shape == (None, 16, 16, 16)


def test_dropout_is_a_setting_of_wide_resnets(small):
    images = noise(2, 32, 32, 3)
    wet = small("wrn", dropout=0.5)
    dry = small("wrn", dropout=0.0)
    for model, differs in ((wet, True), (dry, False)):
        first, second = (ops.convert_to_numpy(model(images, training=True)) for _ in range(2))
        assert np.allclose(first, second, rtol=1e-4, atol=1e-5) != differs


def test_unknown_names_name_the_nearest():
    with pytest.raises(ValueError, match=r"(?s)'vgg_aib_q'.*Did you mean 'vgg_aib_qt'.*wrn_aib_qt"):
        zoo.get("vgg_aib_q")
    with pytest.raises(ValueError, match="The zoo has: efficientnet_lite0, "):
        zoo.get("resnet")


@pytest.mark.parametrize("name", zoo.list_models())
def test_unknown_settings_name_the_nearest(name):
    with pytest.raises(TypeError, match=f"(?s)zoo.{name}.*'widht'.*Did you mean 'width'"):
        getattr(zoo, name)(widht=0.5)
    with pytest.raises(TypeError, match="(?s)'xyz'.*Its settings: .*width"):
        getattr(zoo, name)(xyz=1)


def test_weights_and_backbone_weights_exclude_each_other():
    with pytest.raises(ValueError, match="Pass only one of them"):
        zoo.vgg16(weights="cub", backbone_weights="imagenet")


def test_settings_of_other_models_are_unknown():
    with pytest.raises(TypeError, match="num_anchors"):
        zoo.vgg_aib(num_anchors=5)
    with pytest.raises(TypeError, match="dropout"):
        zoo.vgg(dropout=0.5)


@pytest.mark.parametrize("num_classes", [1, 0, -1, 2.0, "10", True, None])
def test_num_classes_must_be_an_integer_of_at_least_2(num_classes):
    with pytest.raises(ValueError, match="num_classes"):
        zoo.vgg(num_classes=num_classes)


@pytest.mark.parametrize(
    "input_shape",
    [(32, 32), (32, 32, 1), (3, 32, 32), (16, 32, 3), (None, None, 3), (32.0, 32, 3), 32, None],
)
def test_input_shape_must_be_one_of_an_image(input_shape):
    with pytest.raises(ValueError, match=r"input_shape.*32"):
        zoo.vgg_aib(input_shape=input_shape)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("width", 0),
        ("width", -1.0),
        ("width", "1"),
        ("latent_dim", 0),
        ("num_anchors", 1),
        ("beta", -0.1),
        ("kl_scale", "bits"),
        ("modulation", "none"),
        ("quantization_weight", -1.0),
        ("mean", (0.5, 0.5)),
        ("std", (0.5, 0.0, 0.5)),
        ("mean", 0.5),
    ],
)
def test_values_out_of_range_are_value_errors_that_name_the_setting(setting, value):
    with pytest.raises(ValueError, match=setting):
        zoo.vgg_aib_qt(**{"width": 0.0625, "latent_dim": 8, setting: value})


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_out_of_range_is_a_value_error(rate):
    with pytest.raises(ValueError, match="rate|dropout"):
        zoo.wrn_aib(width=0.025, dropout=rate)


def test_global_channels_first_does_not_turn_the_models_round(small):
    expected = [w.shape for w in small("vgg_aib_qt").weights]
    keras.config.set_image_data_format("channels_first")
    model = small("vgg_aib_qt")
    assert [w.shape for w in model.weights] == expected
    assert model(noise(1, 32, 32, 3)).shape == (1, 10)
