"""Wide ResNet for 32x32 images (Zagoruyko & Komodakis, BMVC 2016), whole and in parts."""

import keras
from keras import layers

from aib_keras.layers import Dropout
from aib_keras.models.vgg import scaled

STEM_FILTERS = 16
GROUP_FILTERS = (160, 320, 640)
BLOCKS_PER_GROUP = 4


def kernel_initializer():
    """N(0, 2 / (k * k * out)), as the authors have it."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def wrn_features(input_shape, width=1.0, dropout=0.3):
    """Stem and groups 1 and 2: `(B, S, S, 3)` to `(B, S/2, S/2, 320 * width)`."""
    inputs = keras.Input(input_shape)
    x = stem_and_groups(inputs, width, dropout, groups=2)
    return keras.Model(inputs, x, name="feature_extractor")


def wrn_attention_head(features_shape, num_classes, width=1.0, dropout=0.3):
    """A third group at full resolution and two convolutions: features to one value a position."""
    inputs = keras.Input(features_shape)
    return keras.Model(inputs, map_scores(inputs, num_classes, width, dropout)[1], name="head")


def wrn_trunk(features_shape, width=1.0, dropout=0.3):
    """Group 3 and global average pooling: features to `(B, 640 * width)`."""
    inputs = keras.Input(features_shape)
    x = group(inputs, "group3", scaled(GROUP_FILTERS[2], width), 2, dropout)
    return keras.Model(inputs, pooled(x), name="trunk")


def wrn_backbone(input_shape, num_classes, width=1.0, dropout=0.3):
    """The whole network without attention: images `(B, S, S, 3)` to logits."""
    inputs = keras.Input(input_shape)
    x = pooled(stem_and_groups(inputs, width, dropout, groups=3))
    x = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, x, name="backbone")


def map_scores(x, num_classes, width, dropout):
    """A third group at full resolution: one map a class, `(B, h, w, classes)`, and of these one
    score a position, `(B, h, w, 1)`."""
    x = group(x, "group", scaled(GROUP_FILTERS[2], width), 1, dropout)
    x = conv(num_classes, 1, "class_conv")(batch_norm("group_bn")(x))
    class_maps = layers.ReLU()(batch_norm("class_bn")(x))
    return class_maps, batch_norm("map_bn")(conv(1, 3, "map_conv")(class_maps))


def conv(filters, kernel, name, stride=1):
    # Strided ones are padded by hand before: "same" pads a stride of 2 on one side, PyTorch on
    # both.
    return layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        data_format="channels_last",
        kernel_initializer=kernel_initializer(),
        name=name,
    )


def batch_norm(name):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def pooled(x):
    x = layers.ReLU()(batch_norm("final_bn")(x))
    return layers.GlobalAveragePooling2D(data_format="channels_last")(x)


def stem_and_groups(x, width, dropout, groups):
    x = conv(scaled(STEM_FILTERS, width), 3, "stem")(x)
    for index in range(groups):
        filters = scaled(GROUP_FILTERS[index], width)
        x = group(x, f"group{index + 1}", filters, 1 if index == 0 else 2, dropout)
    return x


def group(x, name, filters, stride, dropout):
    for index in range(1, BLOCKS_PER_GROUP + 1):
        x = _block(x, f"{name}_block{index}", filters, stride if index == 1 else 1, dropout)
    return x


def _block(x, name, filters, stride, dropout):
    """Pre-activation block; a change of shape shares its activation with the shortcut."""
    y = layers.ReLU()(batch_norm(f"{name}_bn1")(x))
    if stride != 1 or x.shape[-1] != filters:
        x = conv(filters, 1, f"{name}_shortcut", stride)(y)
    if stride != 1:
        y = layers.ZeroPadding2D(1, data_format="channels_last")(y)
    y = conv(filters, 3, f"{name}_conv1", stride)(y)
    y = layers.ReLU()(batch_norm(f"{name}_bn2")(y))
    if dropout:
        y = Dropout(dropout, name=f"{name}_dropout")(y)
    y = conv(filters, 3, f"{name}_conv2")(y)
    return layers.Add()([x, y])
