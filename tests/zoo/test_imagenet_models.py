"""The 224x224 models: their weights from elsewhere; the full size is in test_golden_cub.py."""

import importlib

import keras
import numpy as np
import pytest
from golden.reference_weights import draw_state, read_shapes
from keras import ops

from aib_keras import zoo

# The functions `zoo.vgg16` and the module of that name have one name in the package.
vgg16 = importlib.import_module("aib_keras.zoo.vgg16")
wide_resnet50 = importlib.import_module("aib_keras.zoo.wide_resnet50")

CHANNELS = {64, 128, 256, 512, 1024, 2048, 4608}
NARROW = 0.0625
VGG16 = ["vgg16", "vgg16_aib", "vgg16_aib_qt"]
WRN50 = ["wrn50_2", "wrn50_2_aib", "wrn50_2_aib_qt"]


def narrow(name, **settings):
    settings = {"width": NARROW, "input_shape": (64, 64, 3), **settings}
    if "_aib" in name:
        settings["latent_dim"] = 16
    return zoo.get(name)(**settings)


def photos(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def arrays(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def assert_unchanged(model, before):
    for value, found in zip(before, arrays(model), strict=True):
        np.testing.assert_array_equal(found, value)


def narrow_authors_state(name):
    shapes = {
        tensor: tuple(size // 16 if size in CHANNELS else size for size in shape)
        for tensor, shape in read_shapes(f"cub_{name}_c200").items()
    }
    return draw_state(shapes, seed=0)


def torchvision_state(full=False):
    """What torchvision's wide_resnet50_2 has: the authors' models carry it along."""
    state = {} if full else narrow_authors_state("wrn_aib")
    if full:
        shapes = read_shapes("cub_wrn_aib_c200")
        kept = ("conv1.", "bn1.", "layer")
        state = draw_state({n: s for n, s in shapes.items() if n.startswith(kept)}, seed=0)
    state = {n: v for n, v in state.items() if n.startswith(("conv1.", "bn1.", "layer"))}
    width = state["layer4.2.bn3.bias"].size
    return {**state, "fc.weight": np.zeros((1000, width)), "fc.bias": np.zeros(1000)}


@pytest.fixture(scope="module")
def applications_vgg16():
    network = keras.applications.VGG16(include_top=False, weights=None)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.weights:
            layer.bias.assign(rng.standard_normal(layer.bias.shape))
    return network


@pytest.fixture(scope="module", params=["vgg16.weights.h5", "vgg16_legacy.h5"])
def vgg16_file(request, applications_vgg16, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg16") / request.param
    if "legacy" in path.name:
        applications_vgg16.save(path)
    else:
        applications_vgg16.save_weights(path)
    return path


def applications_features(vgg16, images):
    images = keras.applications.vgg16.preprocess_input(images.astype("float32"))
    features = keras.Model(vgg16.input, vgg16.get_layer("block5_conv3").output)
    return ops.convert_to_numpy(features(images))


@pytest.mark.parametrize(
    "name", [*VGG16, *(pytest.param(name, marks=pytest.mark.slow) for name in WRN50)]
)
def test_images_to_logits_and_maps(name):
    model = narrow(name, num_classes=7)
    assert model(photos(2, 64, 64, 3)).shape == (2, 7)
    if "_aib" in name:
        found = model.explain(photos(2, 64, 64, 3))
        assert found["attention"].shape == (2, 4, 4, 1)
        assert ("attention_quantized" in found) == name.endswith("_qt")


@pytest.mark.parametrize("name", ["vgg16_aib_qt", "wrn50_2_aib_qt"])
def test_the_smallest_images(name):
    found = narrow(name, input_shape=(48, 80, 3)).explain(photos(1, 48, 80, 3))
    assert found["attention"].shape == (1, 3, 5, 1)
    with pytest.raises(ValueError, match="at least 48"):
        narrow(name, input_shape=(47, 80, 3))


@pytest.mark.slow
def test_global_channels_first_does_not_turn_the_models_round():
    # Not square, so that a map that is turned round is another one.
    images = photos(2, 64, 96, 3)
    models = {name: narrow(name, input_shape=(64, 96, 3)) for name in VGG16 + WRN50}
    keras.config.set_image_data_format("channels_first")
    for name, model in models.items():
        turned = narrow(name, input_shape=(64, 96, 3))
        turned.set_weights(model.get_weights())
        logits = (ops.convert_to_numpy(each(images)) for each in (model, turned))
        np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sides", [(14, 14), (5, 5), (3, 3), (4, 7), (10, 6)])
def test_pooling_to_3x3_is_pytorchs(sides):
    torch = pytest.importorskip("torch")
    features = np.random.default_rng(0).standard_normal((2, *sides, 4)).astype("float32")
    found = vgg16.pooled_to_3x3(features)
    pooled = torch.nn.functional.adaptive_avg_pool2d(
        torch.tensor(features.transpose(0, 3, 1, 2)), 3
    )
    expected = pooled.numpy().transpose(0, 2, 3, 1).reshape(2, -1)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5, atol=1e-6)


def test_vgg16_weights_give_the_features_of_keras_applications(vgg16_file, applications_vgg16):
    # With the mean that keras.applications takes away, the padding means the same in both.
    model = zoo.vgg16_aib_qt(
        input_shape=(64, 64, 3),
        backbone_weights=vgg16_file,
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        std=(0.5, 0.25, 0.2),
    )
    images = photos(2, 64, 64, 3)
    found = ops.convert_to_numpy(model.feature_extractor(model.preprocess(images)))
    expected = applications_features(applications_vgg16, images)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert expected.max() > 0


@pytest.mark.parametrize("name", ["vgg16", "vgg16_aib"])
def test_vgg16_weights_under_imagenets_normalisation(name, applications_vgg16, tmp_path):
    applications_vgg16.save_weights(tmp_path / "vgg16.weights.h5")
    model = zoo.get(name)(
        input_shape=(64, 64, 3), backbone_weights=str(tmp_path / "vgg16.weights.h5")
    )
    part = model.backbone if name == "vgg16" else model.feature_extractor
    images = photos(2, 64, 64, 3)

    def first(part, images):
        conv = keras.Model(part.input, part.get_layer("block1_conv1").output)
        return ops.convert_to_numpy(conv(images))

    found = first(part, model.preprocess(images))
    caffe = keras.applications.vgg16.preprocess_input(images.astype("float32"))
    expected = first(applications_vgg16, caffe)
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], rtol=1e-3, atol=1e-2)
    # The padding means ImageNet's mean in both, but by two accounts: half a grey level apart.
    kernel = applications_vgg16.get_layer("block1_conv1").get_weights()[0]
    half_a_level = 0.5 * np.abs(kernel).sum(axis=(0, 1, 2)).max()
    assert 0.01 < np.abs(found - expected).max() < half_a_level

    features = keras.Model(part.input, part.get_layer("block5_conv3").output)
    found = ops.convert_to_numpy(features(model.preprocess(images)))
    expected = applications_features(applications_vgg16, images)
    assert np.abs(found - expected).max() < 0.01 * expected.max()


def test_vgg16_weights_without_preprocessing_are_for_imagenets_normalisation(applications_vgg16):
    convs = {
        layer.name: layer.get_weights() for layer in applications_vgg16.layers if layer.weights
    }
    with_it, without = zoo.vgg16(), zoo.vgg16(include_preprocessing=False)
    for model in (with_it, without):
        vgg16.set_imagenet_weights(model.backbone, convs, model.preprocessing)
    for name in ("block1_conv1", "block5_conv3"):
        for mine, other in zip(
            with_it.backbone.get_layer(name).get_weights(),
            without.backbone.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no weights", "does not hold the weights of keras.applications.VGG16"), (None, "no file")],
)
def test_files_that_are_not_of_vgg16(content, message, tmp_path):
    path = tmp_path / "vgg16.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        zoo.vgg16(backbone_weights=path)
    assert str(path) in str(error.value)


# Keras warns of what it cannot load before it raises.
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_weights_of_another_network_are_not_of_vgg16(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(64, 3)])
    model.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match="does not hold the weights of keras.applications.VGG16"):
        vgg16.read_imagenet_weights(tmp_path / "other.weights.h5", 1.0)


@pytest.mark.parametrize(
    ("name", "weights", "width", "error", "message"),
    [
        ("vgg16_aib", "imagenet", 0.5, ValueError, "`width` is 0.5"),
        ("vgg16_aib_qt", "cub", 1.0, ValueError, r"'cub': expected None, \"imagenet\".*\.h5"),
        ("vgg16", True, 1.0, TypeError, "True"),
        ("wrn50_2", "imagenet", 1.0, ValueError, r"'imagenet'.*\.safetensors or \.pth"),
        ("wrn50_2_aib", 5, 1.0, TypeError, "5: expected"),
        ("wrn50_2_aib_qt", "none.pth", 1.0, ValueError, r"no file 'none\.pth'"),
        ("wrn50_2_aib_qt", "none.pth", 2, ValueError, "`width` is 2"),
    ],
)
def test_backbone_weights_are_checked_before_anything_is_built(
    name, weights, width, error, message, monkeypatch
):
    monkeypatch.setattr(vgg16, "_convs", None)
    monkeypatch.setattr(wide_resnet50, "_stem_and_layers", None)
    with pytest.raises(error, match=message):
        zoo.get(name)(backbone_weights=weights, width=width)


@pytest.mark.slow
def test_wide_resnet_weights_reach_the_model(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    state = torchvision_state(full=True)
    save_file(
        {name: value.astype("float32") for name, value in state.items()},
        tmp_path / "model.safetensors",
    )
    model = zoo.wrn50_2_aib_qt(backbone_weights=tmp_path / "model.safetensors")
    for part, layer, tensor in (
        (model.feature_extractor, "stem_conv", "conv1.weight"),
        (model.feature_extractor, "layer3_block1_downsample_conv", "layer3.0.downsample.0.weight"),
        (model.encoder.trunk, "layer4_block3_conv2", "layer4.2.conv2.weight"),
    ):
        kernel = ops.convert_to_numpy(part.get_layer(layer).kernel)
        np.testing.assert_array_equal(kernel, state[tensor].transpose(2, 3, 1, 0))
    # Nobody says that the attention's own fourth layer starts from ImageNet's.
    head = ops.convert_to_numpy(model.attention.head.get_layer("head_layer4_block3_conv2").kernel)
    theirs = state["layer4.2.conv2.weight"].transpose(2, 3, 1, 0)
    assert abs(np.corrcoef(head.ravel(), theirs.ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
def test_formats_of_wide_resnet_weights(suffix, tmp_path):
    torch = pytest.importorskip("torch")
    state, path = torchvision_state(), tmp_path / f"model.{suffix}"
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    tensors["bn1.num_batches_tracked"] = torch.tensor(7)
    if suffix == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(tensors, path)
    else:
        torch.save(tensors, path)
    found = wide_resnet50.read_imagenet_weights(str(path), 1)
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=f"model.{suffix}"):
        wide_resnet50.read_imagenet_weights(path, 1)


def test_wide_resnet_in_parts_computes_what_the_whole_does():
    state = torchvision_state()
    whole, features = (
        wide_resnet50.whole_network((64, 64, 3), 5, NARROW),
        wide_resnet50.stem_to_layer3((64, 64, 3), NARROW),
    )
    trunk = wide_resnet50.layer4_trunk(features.output_shape[1:], NARROW)
    wide_resnet50.set_imagenet_weights(whole, whole, state)
    wide_resnet50.set_imagenet_weights(features, trunk, state)
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    pooled = keras.Model(whole.input, whole.get_layer("pooling").output)(images)
    np.testing.assert_allclose(
        ops.convert_to_numpy(trunk(features(images))), ops.convert_to_numpy(pooled), rtol=1e-4
    )


def test_everything_wrong_with_wide_resnet_weights_is_named_and_the_model_unchanged():
    state = torchvision_state()
    del state["layer2.1.bn2.running_var"]
    state["conv1.weight"] = np.zeros((4, 3, 3, 3))
    state["layer5.weight"] = np.zeros(3)
    model = wide_resnet50.whole_network((64, 64, 3), 5, NARROW)
    before = arrays(model)
    with pytest.raises(ValueError, match="torchvision's wide_resnet50_2") as error:
        wide_resnet50.set_imagenet_weights(model, model, state)
    for expected in (
        "missing: layer2.1.bn2.running_var",
        "shape: conv1.weight is (4, 3, 3, 3)",
        "not in the model: layer5.weight",
    ):
        assert expected in str(error.value)
    assert "fc." not in str(error.value)
    assert_unchanged(model, before)


@pytest.mark.parametrize(
    ("name", "authors"), [("vgg16_aib_qt", "vgg_aib_qt"), ("wrn50_2_aib_qt", "wrn_aib_qt")]
)
def test_authors_checkpoints_are_read_strictly(name, authors):
    model, state = narrow(name), narrow_authors_state(authors)
    zoo.load_authors_checkpoint(model, state)
    before = arrays(model)
    wrong = "encode.2.weight" if name.startswith("vgg16") else "encode.3.weight"
    state[wrong] = state[wrong][:, :-1]
    del state["decode.2.bias"]
    state["layer9.weight"] = np.zeros(3)
    with pytest.raises(ValueError, match=name) as error:
        zoo.load_authors_checkpoint(model, state)
    for expected in (
        f"shape: {wrong}",
        "missing: decode.2.bias",
        "not in the model: layer9.weight",
    ):
        assert expected in str(error.value)
    assert "tmp_layer" not in str(error.value)
    assert_unchanged(model, before)


def test_the_authors_have_no_checkpoint_of_the_plain_ones():
    with pytest.raises(ValueError, match=r"(?s)'wrn50_2'.*vgg16_aib.*vgg_aib_qt.*wrn50_2_aib_qt"):
        zoo.load_authors_checkpoint(narrow("wrn50_2"), {})
