"""Attention Branch Network (Fukui et al., CVPR 2019) on Wide ResNet."""

import threading

import keras
from keras import layers, ops

from aib_keras.models.image_classifier import MapClassifier
from aib_keras.models.vgg import scaled
from aib_keras.models.wide_resnet import (
    GROUP_FILTERS,
    conv,
    group,
    map_scores,
    pooled,
    stem_and_groups,
)


def attention_branch_backbone(input_shape, num_classes, width=1.0, dropout=0.3):
    """Images `(B, S, S, 3)` to a dict of logits, the branch's logits and the map.

    After group 2 the branch, a third group at full resolution, gives a map a class, from these by
    global average pooling its own logits and by a convolution one map in (0, 1). The trunk goes on
    with f * (1 + map).

    Source: Fukui et al., section 3.

    Returns:
        A model whose outputs are `logits` and `branch_logits`, `(B, num_classes)`, and `attention`
        `(B, S/2, S/2, 1)`, in (0, 1).
    """
    inputs = keras.Input(input_shape)
    features = stem_and_groups(inputs, width, dropout, groups=2)
    class_maps, scores = map_scores(features, num_classes, width, dropout)
    branch = conv(num_classes, 1, "branch_conv")(class_maps)
    attention = layers.Activation("sigmoid", dtype="float32", name="attention")(scores)
    x = layers.Add()([features, layers.Multiply()([features, attention])])
    x = pooled(group(x, "group3", scaled(GROUP_FILTERS[2], width), 2, dropout))
    outputs = {
        "logits": layers.Dense(num_classes, name="logits")(x),
        "branch_logits": layers.GlobalAveragePooling2D(data_format="channels_last")(branch),
        "attention": attention,
    }
    return keras.Model(inputs, outputs, name="backbone")


@keras.saving.register_keras_serializable(package="aib_keras")
class AttentionBranchClassifier(MapClassifier):
    """Trains a backbone with two classifiers: the loss is that of its logits plus the branch's.

    The loss that `compile` gets is taken of both, with equal weight, in training and in
    evaluation. The metrics see the main logits.

    Source: Fukui et al., Attention Branch Network, CVPR 2019, Eq. 1.

    Args:
        backbone: As `MapClassifier` takes it, with an output `branch_logits` `(B, num_classes)`.
        preprocessing: As in `ImageClassifier`.
    """

    def __init__(self, backbone, preprocessing=None, **kwargs):
        super().__init__(backbone, preprocessing=preprocessing, **kwargs)
        # From `call` to `compute_loss` of the same step. MirroredStrategy runs each replica in a
        # thread of its own.
        self._untracked.step = threading.local()

    def call(self, images, training=None):
        outputs = self.backbone(self.preprocess(images), training=training)
        self._untracked.step.branch_logits = ops.cast(outputs["branch_logits"], "float32")
        return ops.cast(outputs["logits"], "float32")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        branch_logits = vars(self._untracked.step).pop("branch_logits", None)
        loss = super().compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )
        if self.loss is None or y is None or branch_logits is None:
            return loss
        return loss + keras.losses.get(self.loss)(y, branch_logits, sample_weight=sample_weight)
