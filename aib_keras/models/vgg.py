"""The VGG of the paper's 32x32 tables (Jetley et al., ICLR 2018), whole and in two parts."""

import keras
from keras import layers

# Filters of the convolutions between poolings, before and after the place of the attention.
FEATURE_STAGES = ((64, 64, 128, 128, 256, 256, 256),)
TRUNK_STAGES = ((512, 512, 512), (512, 512, 512), (512,), (512,))
GLOBAL_FILTERS = 512


def kernel_initializer():
    """Glorot uniform with gain sqrt(2), as the authors have it."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_avg", distribution="uniform")


def scaled(channels, width):
    """`channels` times `width`, rounded, at least 1."""
    return max(1, round(channels * width))


def vgg_features(input_shape, width=1.0):
    """The stages before the attention: `(B, S, S, 3)` to `(B, S/2, S/2, 256 * width)`."""
    inputs = keras.Input(input_shape)
    outputs = _stages(inputs, FEATURE_STAGES, width, first_block=1)
    return keras.Model(inputs, outputs, name="feature_extractor")


def vgg_trunk(features_shape, width=1.0):
    """The stages after the attention, up to the 512 * width global features, `(B, D)`."""
    inputs = keras.Input(features_shape)
    x = _stages(inputs, TRUNK_STAGES, width, first_block=1 + len(FEATURE_STAGES))
    x = _global_conv(x, features_shape, width)
    x = layers.Flatten()(layers.ReLU()(x))
    return keras.Model(inputs, x, name="trunk")


def vgg_backbone(input_shape, num_classes, width=1.0):
    """The whole network without attention: images `(B, S, S, 3)` to logits."""
    inputs = keras.Input(input_shape)
    x = _stages(inputs, FEATURE_STAGES + TRUNK_STAGES, width, first_block=1)
    features_shape = (input_shape[0] // 2, input_shape[1] // 2)
    x = layers.Flatten()(_global_conv(x, features_shape, width))
    x = layers.Dense(num_classes, kernel_initializer=kernel_initializer(), name="logits")(x)
    return keras.Model(inputs, x, name="backbone")


def _stages(x, stages, width, first_block):
    for block, filters in enumerate(stages, start=first_block):
        for index, channels in enumerate(filters, start=1):
            name = f"block{block}_conv{index}"
            x = layers.Conv2D(
                scaled(channels, width),
                3,
                padding="same",
                data_format="channels_last",
                kernel_initializer=kernel_initializer(),
                name=name,
            )(x)
            x = layers.BatchNormalization(
                momentum=0.9,
                epsilon=1e-5,
                gamma_initializer=keras.initializers.RandomUniform(0.0, 1.0),
                name=f"{name}_bn",
            )(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2, data_format="channels_last", name=f"block{block}_pool")(x)
    return x


def _global_conv(x, features_shape, width):
    # 1x1 at 32 pixels, 2x2 at 80: the kernel is the side of the input over 32, rounded down.
    kernel = tuple(max(1, side * 2 // 32) for side in features_shape[:2])
    return layers.Conv2D(
        scaled(GLOBAL_FILTERS, width),
        kernel,
        data_format="channels_last",
        kernel_initializer=kernel_initializer(),
        name="global_conv",
    )(x)
