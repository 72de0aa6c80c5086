"""VGG with class activation maps (Zhou et al., CVPR 2016)."""

import keras

from aib_keras.models import CAMClassifier
from aib_keras.zoo.registry import zoo_model
from aib_keras.zoo.vgg import SETTINGS, logits_layer, stage, stages

# Jetley et al.'s VGG has convolutions in the place of VGG-16's first fully connected layers, after
# these stages. Zhou et al. take the fully connected layers away, and the pooling before them.
_STAGES = 3


@zoo_model(**SETTINGS)
def vgg_gap(num_classes, input_shape, preprocessing, width):
    """VGG with global average pooling of its last convolutional map (8x8 for 32x32 images).

    Its map is the class activation map of the predicted class (Zhou et al., 2016). This is our
    interpretation of a row of the paper's Table 1, for which we know of no published code: `vgg` up
    to the end of its third stage, without the poolings and the convolutions that stand for fully
    connected layers.
    """
    inputs = keras.Input(input_shape)
    x = stages(inputs, width, last=_STAGES - 1)
    features = keras.Model(inputs, stage(x, _STAGES, width), name="feature_extractor")
    return CAMClassifier(
        features, logits_layer(num_classes), preprocessing=preprocessing, name="vgg_gap"
    )
