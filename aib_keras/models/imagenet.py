"""The ImageNet networks of the paper's CUB column, whole and in parts.

VGG-16 without batch norm and without its last pooling (Simonyan & Zisserman, ICLR 2015), and
torchvision's Wide-ResNet-50-2 (Zagoruyko & Komodakis, BMVC 2016). Images have 224 pixels a side in
the paper; S below is any size from 48 up, the features have S/16.
"""

import keras
from keras import layers

from aib_keras.models.vgg import scaled
from aib_keras.models.wide_resnet import batch_norm, conv, kernel_initializer

# Filters of the convolutions between poolings; the names of the layers are keras.applications'.
VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG16_POOLED_SIDE = 3
# Filters that the bottleneck blocks of each layer end with, and the number of blocks.
WRN50_LAYERS = ((256, 3), (512, 4), (1024, 6), (2048, 3))
WRN50_STEM_FILTERS = 64


def vgg16_features(input_shape, width=1.0):
    """All 13 convolutions: `(B, S, S, 3)` to `(B, S/16, S/16, 512 * width)`."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, _vgg16_convs(inputs, width), name="feature_extractor")


def vgg16_attention_head(features_shape, width=1.0):
    """Three convolutions with ReLU and one more: features to one value a position."""
    inputs = x = keras.Input(features_shape)
    for index in (1, 2, 3):
        x = _relu_conv(x, scaled(512, width), f"hidden_conv{index}")
    x = layers.Conv2D(1, 3, padding="same", data_format="channels_last", name="map_conv")(x)
    return keras.Model(inputs, x, name="head")


def vgg16_trunk(features_shape):
    """Average pooling to 3x3, flattened: features `(B, h, w, C)` to `(B, 9 * C)`."""
    inputs = keras.Input(features_shape)
    return keras.Model(inputs, _pooled_to_side(inputs), name="trunk")


def vgg16_backbone(input_shape, num_classes, width=1.0):
    """The convolutions, the pooling of `vgg16_trunk` and a linear layer: images to logits."""
    inputs = keras.Input(input_shape)
    x = _pooled_to_side(_vgg16_convs(inputs, width))
    x = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, x, name="backbone")


def wrn50_features(input_shape, width=1.0):
    """Stem and layers 1 to 3: `(B, S, S, 3)` to `(B, S/16, S/16, 1024 * width)`."""
    inputs = keras.Input(input_shape)
    x = _stem_and_layers(inputs, width, last=3)
    return keras.Model(inputs, x, name="feature_extractor")


def wrn50_attention_head(features_shape, width=1.0):
    """A fourth layer at full resolution and a convolution: features to one value a position."""
    inputs = keras.Input(features_shape)
    x = _layer(inputs, 4, width, stride=1)
    x = layers.Conv2D(1, 3, padding="same", data_format="channels_last", name="map_conv")(x)
    return keras.Model(inputs, x, name="head")


def wrn50_trunk(features_shape, width=1.0):
    """Layer 4 and global average pooling: features to `(B, 2048 * width)`."""
    inputs = keras.Input(features_shape)
    x = _global_pooled(_layer(inputs, 4, width, stride=2))
    return keras.Model(inputs, x, name="trunk")


def wrn50_backbone(input_shape, num_classes, width=1.0):
    """The whole network without attention: images `(B, S, S, 3)` to logits."""
    inputs = keras.Input(input_shape)
    x = _global_pooled(_stem_and_layers(inputs, width, last=4))
    x = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, x, name="backbone")


def _vgg16_convs(x, width):
    for block, filters in enumerate(VGG16_BLOCKS, start=1):
        for index, channels in enumerate(filters, start=1):
            x = _relu_conv(x, scaled(channels, width), f"block{block}_conv{index}")
        if block < len(VGG16_BLOCKS):
            x = layers.MaxPooling2D(2, data_format="channels_last", name=f"block{block}_pool")(x)
    return x


def _relu_conv(x, filters, name):
    # Without ImageNet's weights the start is torchvision's for both networks: under Glorot's a
    # signal loses half of its power at every ReLU, and VGG-16 has no batch norm to restore it.
    return layers.Conv2D(
        filters,
        3,
        padding="same",
        activation="relu",
        data_format="channels_last",
        kernel_initializer=kernel_initializer(),
        name=name,
    )(x)


def _pooled_to_side(x):
    pooling = layers.AdaptiveAveragePooling2D(
        VGG16_POOLED_SIDE, data_format="channels_last", name="pooling"
    )
    return layers.Flatten(name="flatten")(pooling(x))


def _global_pooled(x):
    return layers.GlobalAveragePooling2D(data_format="channels_last", name="pooling")(x)


def _stem_and_layers(x, width, last):
    x = _conv_bn(x, scaled(WRN50_STEM_FILTERS, width), 7, "stem_conv", "stem_bn", stride=2)
    x = layers.ReLU()(x)
    # Zeros are as good as PyTorch's -inf around what a ReLU gave.
    x = layers.ZeroPadding2D(1, data_format="channels_last")(x)
    x = layers.MaxPooling2D(3, 2, data_format="channels_last", name="stem_pool")(x)
    for number in range(1, last + 1):
        x = _layer(x, number, width, stride=1 if number == 1 else 2)
    return x


def _layer(x, number, width, stride):
    filters, blocks = WRN50_LAYERS[number - 1]
    for index in range(1, blocks + 1):
        name = f"layer{number}_block{index}"
        x = _bottleneck(x, name, filters, width, stride if index == 1 else 1)
    return x


def _bottleneck(x, name, filters, width, stride):
    """1x1, 3x3 with the stride, 1x1. "Wide" is the middle: half of the output, not a quarter."""
    inner, outer = scaled(filters // 2, width), scaled(filters, width)
    y = layers.ReLU()(_conv_bn(x, inner, 1, f"{name}_conv1", f"{name}_bn1"))
    y = layers.ReLU()(_conv_bn(y, inner, 3, f"{name}_conv2", f"{name}_bn2", stride))
    y = _conv_bn(y, outer, 1, f"{name}_conv3", f"{name}_bn3")
    # Each layer's first block has one, a change of shape or not, as has torchvision's.
    if name.endswith("_block1"):
        x = _conv_bn(x, outer, 1, f"{name}_downsample_conv", f"{name}_downsample_bn", stride)
    return layers.ReLU(name=f"{name}_relu")(layers.Add()([y, x]))


def _conv_bn(x, filters, kernel, conv_name, bn_name, stride=1):
    if stride != 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, data_format="channels_last")(x)
    return batch_norm(bn_name)(conv(filters, kernel, conv_name, stride)(x))
