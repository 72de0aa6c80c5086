"""WRN-28-10 for 32x32 images (Zagoruyko & Komodakis, BMVC 2016): plain and with IB attention."""

import keras
from keras import layers

from aib_keras.layers import Dropout
from aib_keras.models import PlainClassifier
from aib_keras.models.assembly import AIB_SETTINGS, QUANTIZER_SETTINGS, assemble
from aib_keras.zoo.parts import (
    batch_norm,
    bottleneck_tensor_names,
    global_pooling,
    he_normal_fan_out,
    residual_conv,
    scaled,
)
from aib_keras.zoo.registry import zoo_model

STEM_FILTERS = 16
GROUP_FILTERS = (160, 320, 640)
BLOCKS_PER_GROUP = 4
# The layer whose output IB attention modulates, and the baselines' counterpart.
FEATURES_LAYER = "group2_block4_add"
# Settings of every model of the family; `mean` and `std` are those of the authors' training.
SETTINGS = {
    "min_side": 8,
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2023, 0.1994, 0.2010),
    "width": 1.0,
    "dropout": 0.3,
}
_AIB = {**SETTINGS, **AIB_SETTINGS, "latent_dim": 512}
# The checkpoints hold leftovers of the Attention Branch Network that the authors started from.
_UNUSED = ("block3.", "bn1.", "att_block3.", "bn_att", "att_conv")


def stem_and_groups(x, width, dropout, groups):
    """Applies the stem and the first `groups` groups."""
    x = residual_conv(scaled(STEM_FILTERS, width), 3, "stem")(x)
    for index in range(groups):
        filters = scaled(GROUP_FILTERS[index], width)
        x = group(x, f"group{index + 1}", filters, 1 if index == 0 else 2, dropout)
    return x


def group(x, name, filters, stride, dropout):
    """Applies a group of residual blocks, of which the first has the stride."""
    for index in range(1, BLOCKS_PER_GROUP + 1):
        x = _block(x, f"{name}_block{index}", filters, stride if index == 1 else 1, dropout)
    return x


def _block(x, name, filters, stride, dropout):
    """Applies a pre-activation block. A change of shape shares its activation with the shortcut."""
    y = layers.ReLU()(batch_norm(f"{name}_bn1")(x))
    if stride != 1 or x.shape[-1] != filters:
        x = residual_conv(filters, 1, f"{name}_shortcut", stride)(y)
    if stride != 1:
        y = layers.ZeroPadding2D(1, data_format="channels_last")(y)
    y = residual_conv(filters, 3, f"{name}_conv1", stride)(y)
    y = layers.ReLU()(batch_norm(f"{name}_bn2")(y))
    if dropout:
        y = Dropout(dropout, name=f"{name}_dropout")(y)
    y = residual_conv(filters, 3, f"{name}_conv2")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def map_scores(x, num_classes, width, dropout):
    """Applies a third group at full resolution.

    Returns:
        A tuple of one map per class, `(B, h, w, classes)`, and one score per position that a
        convolution makes of them, `(B, h, w, 1)`.
    """
    x = group(x, "group", scaled(GROUP_FILTERS[2], width), 1, dropout)
    x = residual_conv(num_classes, 1, "class_conv")(batch_norm("group_bn")(x))
    class_maps = layers.ReLU()(batch_norm("class_bn")(x))
    return class_maps, batch_norm("map_bn")(residual_conv(1, 3, "map_conv")(class_maps))


def pooled(x):
    """Applies the last batch norm, ReLU and global average pooling."""
    return global_pooling()(layers.ReLU()(batch_norm("final_bn")(x)))


def group_tensor_names(module, part, name):
    """Yields pairs of module and layer of a group of the authors' network."""
    found = {layer.name for layer in part.layers}
    for index in range(BLOCKS_PER_GROUP):
        block = f"{name}_block{index + 1}"
        for child, layer in (
            ("bn1", "bn1"),
            ("conv1", "conv1"),
            ("bn2", "bn2"),
            ("conv2", "conv2"),
            ("convShortcut", "shortcut"),
        ):
            if f"{block}_{layer}" in found:
                yield f"{module}.layer.{index}.{child}", part.get_layer(f"{block}_{layer}")


def _aib_tensor_names(model):
    """Yields pairs of module and layer of the authors' Wide-ResNet for 32x32 images."""
    features, head, trunk = model.feature_extractor, model.attention.head, model.encoder.trunk
    yield "conv1", features.get_layer("stem")
    yield from group_tensor_names("block1", features, "group1")
    yield from group_tensor_names("block2", features, "group2")
    yield from group_tensor_names("att_module_mu.0", head, "group")
    for module, layer in (
        ("att_module_mu.1", "group_bn"),
        ("att_module_mu.2", "class_conv"),
        ("att_module_mu.3", "class_bn"),
        ("att_module_mu.5", "map_conv"),
        ("att_module_mu.6", "map_bn"),
    ):
        yield module, head.get_layer(layer)
    yield from group_tensor_names("encode.0", trunk, "group3")
    yield "encode.1", trunk.get_layer("final_bn")
    yield "encode.5", model.encoder.linear
    yield from bottleneck_tensor_names(model, hidden=None, logits="decode.1")


@zoo_model(**SETTINGS)
def wrn(num_classes, input_shape, preprocessing, width, dropout):
    """WRN-28-10 (Zagoruyko & Komodakis, 2016), without attention."""
    inputs = keras.Input(input_shape)
    x = pooled(stem_and_groups(inputs, width, dropout, groups=3))
    backbone = keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name="backbone")
    return PlainClassifier(
        backbone, preprocessing=preprocessing, features_layer=FEATURES_LAYER, name="wrn"
    )


@zoo_model(**_AIB, authors_names=_aib_tensor_names, authors_unused=_UNUSED)
def wrn_aib(**settings):
    """WRN-28-10 with IB attention on its 16x16 features (for 32x32 images), not quantised."""
    return _with_attention("wrn_aib", **settings)


@zoo_model(
    **_AIB,
    **QUANTIZER_SETTINGS,
    num_anchors=50,
    authors_names=_aib_tensor_names,
    authors_unused=_UNUSED,
)
def wrn_aib_qt(**settings):
    """WRN-28-10 with quantised IB attention on its 16x16 features (for 32x32 images).

    The paper has 50 anchors on CIFAR-10 and 20 on CIFAR-100.
    """
    return _with_attention("wrn_aib_qt", **settings)


def _with_attention(name, num_classes, input_shape, width, dropout, **settings):
    inputs = keras.Input(input_shape)
    features = keras.Model(
        inputs, stem_and_groups(inputs, width, dropout, groups=2), name="feature_extractor"
    )
    features_shape = features.output_shape[1:]
    return assemble(
        name,
        features,
        head=_attention_head(features_shape, num_classes, width, dropout),
        trunk=_trunk(features_shape, width, dropout),
        decoder=lambda latent_dim: [layers.ReLU(), layers.Dense(num_classes, name="logits")],
        attention_initializer=he_normal_fan_out(),
        **settings,
    )


def _attention_head(features_shape, num_classes, width, dropout):
    """A third group at full resolution and two convolutions: features to one value per position."""
    inputs = keras.Input(features_shape)
    return keras.Model(inputs, map_scores(inputs, num_classes, width, dropout)[1], name="head")


def _trunk(features_shape, width, dropout):
    """Group 3 and global average pooling: features to `(B, 640 * width)`."""
    inputs = keras.Input(features_shape)
    x = group(inputs, "group3", scaled(GROUP_FILTERS[2], width), 2, dropout)
    return keras.Model(inputs, pooled(x), name="trunk")
