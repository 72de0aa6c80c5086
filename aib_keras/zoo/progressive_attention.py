"""VGG with progressive attention (Seo et al., BMVC 2018), without a query."""

import keras
from keras import layers

from aib_keras.models import MapClassifier
from aib_keras.zoo.parts import scaled, softmax_pooling
from aib_keras.zoo.registry import zoo_model
from aib_keras.zoo.vgg import FEATURES_LAYER, SETTINGS, STAGES, conv, logits_layer, pool, stage

_GATED_STAGES = 3


@zoo_model(**SETTINGS)
def vgg_pan(num_classes, input_shape, preprocessing, width):
    """VGG with progressive attention (Seo et al., 2018), without a query. Its maps are the gates.

    This is our interpretation of a row of the paper's Table 1, for which we know of no published
    code.
    """
    return MapClassifier(
        _backbone(input_shape, num_classes, width),
        preprocessing=preprocessing,
        features_layer=FEATURES_LAYER,
        name="vgg_pan",
    )


def _backbone(input_shape, num_classes, width):
    """Images `(B, S, S, 3)` to a dict of logits and gates.

    After each of the first three stages and its pooling, the local context scores the positions:
    conv1x1(ReLU(conv3x3(f))). In the first two stages the sigmoid of the scores gates the features.
    In the third, their softmax over the positions weights the mean that a linear layer reads.

    Source: Seo et al., Progressive Attention Networks, sections 3 and 4.

    Returns:
        A model whose outputs are `logits` `(B, num_classes)`, the gates `attention_1` and
        `attention_2`, in (0, 1), and the weights `attention_3`, which sum to 1, each
        `(B, h, w, 1)`. `attention` is `attention_1` again: it has the place and the resolution of
        IB attention (16x16 for 32-pixel images).
    """
    inputs = x = keras.Input(input_shape)
    outputs = {}
    for number in range(1, _GATED_STAGES + 1):
        x = pool(stage(x, number, width), number)
        channels = scaled(STAGES[number - 1][-1], width)
        context = conv(channels, 3, f"context{number}", padding="same")(x)
        scores = conv(1, 1, f"score{number}")(layers.ReLU()(context))
        if number < _GATED_STAGES:
            gate = layers.Activation("sigmoid", dtype="float32", name=f"gate{number}")(scores)
            x = layers.Multiply()([x, gate])
        else:
            x, gate = softmax_pooling(x, scores, f"attention{number}")
        outputs[f"attention_{number}"] = gate
    outputs["attention"] = outputs["attention_1"]
    outputs["logits"] = logits_layer(num_classes)(x)
    return keras.Model(inputs, outputs, name="backbone")
