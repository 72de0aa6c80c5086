"""Progressive attention (Seo et al., BMVC 2018) without a query, on VGG."""

import keras
from keras import layers

from aib_keras.models.spatial_pooling import softmax_pooling
from aib_keras.models.vgg import STAGES, conv, logits_layer, pool, scaled, stage

_GATED_STAGES = 3


def progressive_attention_backbone(input_shape, num_classes, width=1.0):
    """Images `(B, S, S, 3)` to a dict of logits and gates.

    After each of the first three stages and its pooling the local context scores the positions,
    conv1x1(ReLU(conv3x3(f))). The sigmoid of the scores gates the features of the first two; of the
    third, their softmax over positions weighs the mean that a linear layer reads.

    Source: Seo et al., Progressive Attention Networks, sections 3 and 4, as read for a classifier
    of one object: nobody's code for the paper's row VGG-PAN is known.

    Returns:
        A model whose outputs are `logits` `(B, num_classes)`, the gates `attention_1` and
        `attention_2`, in (0, 1), and the weights `attention_3`, which sum to 1, each
        `(B, h, w, 1)`; `attention` is `attention_1` once more, which is at the place and of the
        resolution of IB attention (16x16 at 32-pixel inputs).
    """
    inputs = x = keras.Input(input_shape)
    outputs = {}
    for number in range(1, _GATED_STAGES + 1):
        x = pool(stage(x, number, width), number)
        context = conv(scaled(STAGES[number - 1][-1], width), 3, f"context{number}", padding="same")
        scores = conv(1, 1, f"score{number}")(layers.ReLU()(context(x)))
        if number < _GATED_STAGES:
            gate = layers.Activation("sigmoid", dtype="float32", name=f"gate{number}")(scores)
            x = layers.Multiply()([x, gate])
        else:
            x, gate = softmax_pooling(x, scores, f"attention{number}")
        outputs[f"attention_{number}"] = gate
    outputs["attention"] = outputs["attention_1"]
    outputs["logits"] = logits_layer(num_classes)(x)
    return keras.Model(inputs, outputs, name="backbone")
