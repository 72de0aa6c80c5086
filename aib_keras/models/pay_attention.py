"""Learn to Pay Attention (Jetley et al., ICLR 2018): attention by compatibility, on VGG."""

import keras
from keras import layers

from aib_keras.models.spatial_pooling import softmax_pooling
from aib_keras.models.vgg import (
    GLOBAL_FILTERS,
    STAGES,
    conv,
    global_conv,
    logits_layer,
    pool,
    scaled,
    stage,
)

# The map that `explain` calls `attention`: that of the second stage, 16x16 at 32-pixel inputs, at
# the place and of the resolution of the IB attention that it is compared with.
_MAIN_STAGE = 2


def pay_attention_backbone(input_shape, num_classes, attended_stages, width=1.0):
    """Images `(B, S, S, 3)` to a dict of logits and compatibility maps.

    Local features are those of the attended stages before their pooling, projected to the 512 *
    width channels of the global ones where they have fewer. A map is the softmax over positions of
    a linear score of (local + global); the classifier reads the concatenated weighted means.

    Source: Jetley et al., section 3, with parametrised compatibility and concatenation.

    Args:
        input_shape: (height, width, 3).
        num_classes: Integer.
        attended_stages: Numbers of the stages of `vgg.STAGES`, from 1.
        width: Float, multiplies every channel count.

    Returns:
        A model whose outputs are `logits` `(B, num_classes)` and `(B, h, w, 1)` maps that sum to
        1 over their positions: `attention_1`, `attention_2`, ... for the attended stages in order,
        and the second stage's once more as `attention`.
    """
    inputs = x = keras.Input(input_shape)
    channels = scaled(GLOBAL_FILTERS, width)
    local_features = {}
    for number in range(1, len(STAGES) + 1):
        x = stage(x, number, width)
        if number in attended_stages:
            local_features[number] = x
        x = pool(x, number)
    global_features = global_conv(x, width)

    outputs, descriptors = {}, []
    for index, number in enumerate(attended_stages, start=1):
        local = local_features[number]
        if STAGES[number - 1][-1] != GLOBAL_FILTERS:
            local = conv(channels, 1, f"projector{index}", use_bias=False)(local)
        scores = conv(1, 1, f"compatibility{index}", use_bias=False)(
            layers.Add()([local, global_features])
        )
        descriptor, weights = softmax_pooling(local, scores, f"attention{index}")
        descriptors.append(descriptor)
        outputs[f"attention_{index}"] = weights
        if number == _MAIN_STAGE:
            outputs["attention"] = weights
    outputs["logits"] = logits_layer(num_classes)(layers.Concatenate()(descriptors))
    return keras.Model(inputs, outputs, name="backbone")
