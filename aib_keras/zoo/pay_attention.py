"""VGG with attention by compatibility: Learn to Pay Attention (Jetley et al., ICLR 2018)."""

import keras
from keras import layers

from aib_keras.models import MapClassifier
from aib_keras.zoo.parts import scaled, softmax_pooling
from aib_keras.zoo.registry import zoo_model
from aib_keras.zoo.vgg import (
    FEATURES_LAYER,
    GLOBAL_FILTERS,
    SETTINGS,
    STAGES,
    backbone_tensor_names,
    conv,
    global_conv,
    logits_layer,
    pool,
    stage,
)

# The map that `explain` calls `attention`: that of the second stage, 16x16 for 32-pixel images. It
# has the place and the resolution of the IB attention that it is compared with.
_MAIN_STAGE = 2


def _att3_tensor_names(model):
    """Yields pairs of module and layer of Learn to Pay Attention's VGG."""
    yield from backbone_tensor_names(model)
    yield "projector.op", model.backbone.get_layer("projector1")
    for index in (1, 2, 3):
        yield f"attn{index}.op", model.backbone.get_layer(f"compatibility{index}")


@zoo_model(**SETTINGS)
def vgg_att2(**settings):
    """VGG with the compatibility attention of Jetley et al. (2018) at 16x16 and 8x8."""
    return _with_compatibility("vgg_att2", (2, 3), **settings)


@zoo_model(**SETTINGS, authors_names=_att3_tensor_names)
def vgg_att3(**settings):
    """VGG with the compatibility attention of Jetley et al. (2018) at 32x32, 16x16 and 8x8."""
    return _with_compatibility("vgg_att3", (1, 2, 3), **settings)


def _with_compatibility(name, attended_stages, num_classes, input_shape, preprocessing, width):
    return MapClassifier(
        _backbone(input_shape, num_classes, attended_stages, width),
        preprocessing=preprocessing,
        features_layer=FEATURES_LAYER,
        name=name,
    )


def _backbone(input_shape, num_classes, attended_stages, width):
    """Images `(B, S, S, 3)` to a dict of logits and compatibility maps.

    Local features are those of the attended stages before their pooling. Where they have fewer
    channels than the 512 * width global features, they are projected to as many. A map is the
    softmax over positions of a linear score of (local + global). The classifier reads the
    concatenated weighted means.

    Source: Jetley et al., section 3, with parametrised compatibility and concatenation.

    Args:
        input_shape: (height, width, 3).
        num_classes: Integer.
        attended_stages: Numbers of the stages of `STAGES`, from 1.
        width: Float, multiplies every channel count.

    Returns:
        A model whose outputs are `logits` `(B, num_classes)` and `(B, h, w, 1)` maps that sum to
        1 over their positions: `attention_1`, `attention_2`, ... for the attended stages in order,
        and the map of the second stage again as `attention`.
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
