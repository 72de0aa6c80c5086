"""Wide-ResNet-50-2 for the paper's CUB column (Zagoruyko & Komodakis, BMVC 2016), as torchvision's.

Plain and with IB attention. Images have 224 pixels a side in the paper; any side S from 48 up
works, and the features have S/16.
"""

import keras
from keras import layers

from aib_keras.models import PlainClassifier
from aib_keras.models.assembly import assemble
from aib_keras.zoo import imagenet
from aib_keras.zoo.parts import (
    batch_norm,
    bottleneck_tensor_names,
    global_pooling,
    hidden_decoder,
    residual_conv,
    scaled,
)
from aib_keras.zoo.registry import zoo_model
from aib_keras.zoo.torch_checkpoint import load_tensors, read_state

# Filters that the bottleneck blocks of each layer end with, and the number of blocks.
LAYERS = ((256, 3), (512, 4), (1024, 6), (2048, 3))
STEM_FILTERS = 64
_HEAD_PREFIX = "head_"
_WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt")
# The checkpoints hold the ImageNet layers that the model's parts are copies of.
_UNUSED = ("layer4.", "tmp_layer.", "att_layer4.")


def _stem_and_layers(x, width, last):
    x = _conv_bn(x, scaled(STEM_FILTERS, width), 7, "stem_conv", "stem_bn", stride=2)
    x = layers.ReLU()(x)
    # After a ReLU, padding with zeros has the same maximum as PyTorch's padding with -inf.
    x = layers.ZeroPadding2D(1, data_format="channels_last")(x)
    x = layers.MaxPooling2D(3, 2, data_format="channels_last", name="stem_pool")(x)
    for number in range(1, last + 1):
        x = _layer(x, number, width, stride=1 if number == 1 else 2)
    return x


def _layer(x, number, width, stride, prefix=""):
    filters, blocks = LAYERS[number - 1]
    for index in range(1, blocks + 1):
        name = f"{prefix}layer{number}_block{index}"
        x = _bottleneck_block(x, name, filters, width, stride if index == 1 else 1)
    return x


def _bottleneck_block(x, name, filters, width, stride):
    """1x1, 3x3 with the stride, 1x1. "Wide" is the middle: half of the output, not a quarter."""
    inner, outer = scaled(filters // 2, width), scaled(filters, width)
    y = layers.ReLU()(_conv_bn(x, inner, 1, f"{name}_conv1", f"{name}_bn1"))
    y = layers.ReLU()(_conv_bn(y, inner, 3, f"{name}_conv2", f"{name}_bn2", stride))
    y = _conv_bn(y, outer, 1, f"{name}_conv3", f"{name}_bn3")
    # As in torchvision, the first block of a layer always projects, even if no shape changes.
    if name.endswith("_block1"):
        x = _conv_bn(x, outer, 1, f"{name}_downsample_conv", f"{name}_downsample_bn", stride)
    return layers.ReLU(name=f"{name}_relu")(layers.Add()([y, x]))


def _conv_bn(x, filters, kernel, conv_name, bn_name, stride=1):
    if stride != 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, data_format="channels_last")(x)
    return batch_norm(bn_name)(residual_conv(filters, kernel, conv_name, stride)(x))


def _attention_head(features_shape, width):
    """A fourth layer at full resolution and a convolution: features to one value per position."""
    inputs = keras.Input(features_shape)
    # The trunk has a fourth layer, too.
    x = _layer(inputs, 4, width, stride=1, prefix=_HEAD_PREFIX)
    x = layers.Conv2D(1, 3, padding="same", data_format="channels_last", name="map_conv")(x)
    return keras.Model(inputs, x, name="head")


def whole_network(input_shape, num_classes, width=1.0):
    """Builds the network without attention: images `(B, S, S, 3)` to logits."""
    inputs = keras.Input(input_shape)
    x = global_pooling("pooling")(_stem_and_layers(inputs, width, last=4))
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name="backbone")


def stem_to_layer3(input_shape, width=1.0):
    """Builds stem and layers 1 to 3: `(B, S, S, 3)` to `(B, S/16, S/16, 1024 * width)`."""
    inputs = keras.Input(input_shape)
    x = _stem_and_layers(inputs, width, last=3)
    return keras.Model(inputs, x, name="feature_extractor")


def layer4_trunk(features_shape, width=1.0):
    """Builds layer 4 and global average pooling: features to `(B, 2048 * width)`."""
    inputs = keras.Input(features_shape)
    x = global_pooling("pooling")(_layer(inputs, 4, width, stride=2))
    return keras.Model(inputs, x, name="trunk")


def _stem_to_layer3_names(features):
    yield "conv1", features.get_layer("stem_conv")
    yield "bn1", features.get_layer("stem_bn")
    for number in (1, 2, 3):
        yield from _layer_names(f"layer{number}", features, number)


def _layer_names(module, part, number, prefix=""):
    for index in range(LAYERS[number - 1][1]):
        block = f"{prefix}layer{number}_block{index + 1}"
        for conv in (1, 2, 3):
            yield f"{module}.{index}.conv{conv}", part.get_layer(f"{block}_conv{conv}")
            yield f"{module}.{index}.bn{conv}", part.get_layer(f"{block}_bn{conv}")
        if index == 0:
            yield f"{module}.0.downsample.0", part.get_layer(f"{block}_downsample_conv")
            yield f"{module}.0.downsample.1", part.get_layer(f"{block}_downsample_bn")


def _tensor_names(model):
    """Yields pairs of module and layer of the authors' Wide-ResNet-50-2 for CUB."""
    head = model.attention.head
    yield from _stem_to_layer3_names(model.feature_extractor)
    yield from _layer_names("att_module_mu.0", head, 4, _HEAD_PREFIX)
    yield "att_module_mu.1", head.get_layer("map_conv")
    yield from _layer_names("encode.0", model.encoder.trunk, 4)
    yield "encode.3", model.encoder.linear
    yield from bottleneck_tensor_names(model, hidden="decode.0", logits="decode.2")


@zoo_model(**imagenet.SETTINGS)
def wrn50_2(num_classes, input_shape, preprocessing, width, backbone_weights):
    """Wide-ResNet-50-2 (Zagoruyko & Komodakis, 2016) as torchvision has it, without attention.

    `backbone_weights` is None or the path of a checkpoint of torchvision's or timm's
    `wide_resnet50_2` (`.safetensors`, `.pth`, `.pt`), whose `fc` is ignored. Such weights expect
    images that are normalised with ImageNet's mean and std, the defaults.
    """
    state = read_imagenet_weights(backbone_weights, width)
    backbone = whole_network(input_shape, num_classes, width)
    set_imagenet_weights(backbone, backbone, state)
    return PlainClassifier(
        backbone, preprocessing=preprocessing, features_layer="layer3_block6_relu", name="wrn50_2"
    )


@zoo_model(**imagenet.AIB, authors_names=_tensor_names, authors_unused=_UNUSED)
def wrn50_2_aib(**settings):
    """Wide-ResNet-50-2 with IB attention on its 14x14 features (for 224x224 images), not quantised.

    `backbone_weights` is as for `wrn50_2`. The attention's own fourth layer has random weights.
    """
    return _with_attention("wrn50_2_aib", **settings)


@zoo_model(**imagenet.QUANTIZED, authors_names=_tensor_names, authors_unused=_UNUSED)
def wrn50_2_aib_qt(**settings):
    """Wide-ResNet-50-2 with quantised IB attention on its 14x14 features (for 224x224 images).

    `backbone_weights` is as for `wrn50_2`. The attention's own fourth layer has random weights.
    """
    return _with_attention("wrn50_2_aib_qt", **settings)


def _with_attention(name, num_classes, input_shape, width, backbone_weights, **settings):
    state = read_imagenet_weights(backbone_weights, width)
    features = stem_to_layer3(input_shape, width)
    features_shape = features.output_shape[1:]
    trunk = layer4_trunk(features_shape, width)
    model = assemble(
        name,
        features,
        head=_attention_head(features_shape, width),
        trunk=trunk,
        decoder=hidden_decoder(num_classes),
        **settings,
    )
    set_imagenet_weights(features, trunk, state)
    return model


def read_imagenet_weights(weights, width):
    """Returns the state_dict of torchvision's or timm's Wide-ResNet-50-2.

    Args:
        weights: None, or the path of a `.safetensors`, `.pth` or `.pt` file.
        width: The model's setting.

    Returns:
        A dict from names to arrays, or None for None.

    Raises:
        TypeError: if `weights` is not a path.
        ValueError: if there is no such file, it is not readable, or `width` is not 1.
        ImportError: without the package that reads it: safetensors, or torch.
    """
    if weights is None:
        return None
    imagenet.check_width(width)
    expected = "expected None, or torchvision's or timm's file"
    return read_state(imagenet.existing_path(weights, _WEIGHTS_SUFFIXES, expected))


def set_imagenet_weights(features, layer4, state):
    """Sets the layers to what `read_imagenet_weights` returned.

    Args:
        features: The model that holds the stem and layers 1 to 3.
        layer4: The model that holds the fourth layer. For a whole network it is the same one.
        state: Dict of arrays, or None, which changes nothing. Its `fc.*` is ignored.

    Raises:
        ValueError: if tensors are missing, superfluous or of another shape. The error names all of
            them, and the models are unchanged.
    """
    if state is None:
        return
    load_tensors(
        state,
        [*_stem_to_layer3_names(features), *_layer_names("layer4", layer4, 4)],
        ("fc.",),
        "`backbone_weights` are not those of torchvision's wide_resnet50_2 or of timm's.",
    )
