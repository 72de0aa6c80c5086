"""The VGG of the paper's 32x32 tables (Jetley et al., ICLR 2018), whole and in two parts."""

import keras
from keras import layers

# Filters of the convolutions before each pooling; the attention's place is after the first one.
STAGES = (
    (64, 64, 128, 128, 256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
    (512,),
    (512,),
)
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
    return keras.Model(inputs, pool(stage(inputs, 1, width), 1), name="feature_extractor")


def vgg_trunk(input_shape, width=1.0, first_stage=2):
    """The stages from `first_stage` on, up to the 512 * width global features, `(B, D)`.

    With `first_stage=1` it is the whole network but for its last linear layer.
    """
    inputs = x = keras.Input(input_shape)
    for number in range(first_stage, len(STAGES) + 1):
        x = pool(stage(x, number, width), number)
    x = layers.Flatten()(layers.ReLU()(global_conv(x, width)))
    return keras.Model(inputs, x, name="trunk")


def vgg_backbone(input_shape, num_classes, width=1.0):
    """The whole network without attention: images `(B, S, S, 3)` to logits."""
    inputs = x = keras.Input(input_shape)
    for number in range(1, len(STAGES) + 1):
        x = pool(stage(x, number, width), number)
    x = layers.Flatten()(global_conv(x, width))
    return keras.Model(inputs, logits_layer(num_classes)(x), name="backbone")


def conv(filters, kernel, name, **kwargs):
    """A convolution as all of the family's."""
    return layers.Conv2D(
        filters,
        kernel,
        data_format="channels_last",
        kernel_initializer=kernel_initializer(),
        name=name,
        **kwargs,
    )


def stage(x, number, width):
    """Stage `number`, from 1, without its pooling: convolutions, batch norms, ReLUs."""
    for index, channels in enumerate(STAGES[number - 1], start=1):
        name = f"block{number}_conv{index}"
        x = conv(scaled(channels, width), 3, name, padding="same")(x)
        x = layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer=keras.initializers.RandomUniform(0.0, 1.0),
            name=f"{name}_bn",
        )(x)
        x = layers.ReLU()(x)
    return x


def pool(x, number):
    """The pooling after stage `number`."""
    return layers.MaxPooling2D(2, data_format="channels_last", name=f"block{number}_pool")(x)


def global_conv(x, width):
    """The unpadded convolution over all that is left of the image, `(B, 1, 1, 512 * width)`.

    Its kernel is the side of the input over 32, rounded down: 1x1 at 32 pixels, 2x2 at 80.
    """
    return conv(scaled(GLOBAL_FILTERS, width), tuple(x.shape[1:3]), "global_conv")(x)


def logits_layer(num_classes):
    """The linear layer to the classes."""
    return layers.Dense(num_classes, kernel_initializer=kernel_initializer(), name="logits")
