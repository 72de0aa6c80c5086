"""WRN-28-10 with an attention branch: Attention Branch Network (Fukui et al., CVPR 2019)."""

import keras
from keras import layers

from aib_keras.models import AttentionBranchClassifier
from aib_keras.zoo import wide_resnet
from aib_keras.zoo.parts import global_pooling, residual_conv, scaled
from aib_keras.zoo.registry import zoo_model


def _tensor_names(model):
    """Yields pairs of module and layer of the Attention Branch Network."""
    backbone = model.backbone
    yield from wide_resnet.group_tensor_names("block1", backbone, "group1")
    yield from wide_resnet.group_tensor_names("block2", backbone, "group2")
    yield from wide_resnet.group_tensor_names("att_block3", backbone, "group")
    yield from wide_resnet.group_tensor_names("block3", backbone, "group3")
    for module, layer in (
        ("conv1", "stem"),
        ("bn_att", "group_bn"),
        ("att_conv", "class_conv"),
        ("bn_att2", "class_bn"),
        ("att_conv2", "branch_conv"),
        ("att_conv3", "map_conv"),
        ("bn_att3", "map_bn"),
        ("bn1", "final_bn"),
        ("fc", "logits"),
    ):
        yield module, backbone.get_layer(layer)


@zoo_model(**wide_resnet.SETTINGS, authors_names=_tensor_names)
def wrn_abn(num_classes, input_shape, preprocessing, width, dropout):
    """Attention Branch Network (Fukui et al., 2019) on WRN-28-10. Trains with two losses."""
    return AttentionBranchClassifier(
        _backbone(input_shape, num_classes, width, dropout),
        preprocessing=preprocessing,
        features_layer=wide_resnet.FEATURES_LAYER,
        name="wrn_abn",
    )


def _backbone(input_shape, num_classes, width, dropout):
    """Images `(B, S, S, 3)` to a dict of logits, the branch's logits and the map.

    After group 2 the branch, a third group at full resolution, makes one map per class. Global
    average pooling of these makes its own logits, and a convolution makes one map in (0, 1). The
    trunk goes on with f * (1 + map).

    Source: Fukui et al., section 3.

    Returns:
        A model whose outputs are `logits` and `branch_logits`, `(B, num_classes)`, and `attention`
        `(B, S/2, S/2, 1)`, in (0, 1).
    """
    inputs = keras.Input(input_shape)
    features = wide_resnet.stem_and_groups(inputs, width, dropout, groups=2)
    class_maps, scores = wide_resnet.map_scores(features, num_classes, width, dropout)
    branch = residual_conv(num_classes, 1, "branch_conv")(class_maps)
    attention = layers.Activation("sigmoid", dtype="float32", name="attention")(scores)
    x = layers.Add()([features, layers.Multiply()([features, attention])])
    filters = scaled(wide_resnet.GROUP_FILTERS[2], width)
    x = wide_resnet.pooled(wide_resnet.group(x, "group3", filters, 2, dropout))
    outputs = {
        "logits": layers.Dense(num_classes, name="logits")(x),
        "branch_logits": global_pooling()(branch),
        "attention": attention,
    }
    return keras.Model(inputs, outputs, name="backbone")
