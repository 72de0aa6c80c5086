"""Class activation maps (Zhou et al., CVPR 2016)."""

import keras
from keras import layers, ops

from aib_keras.models.image_classifier import ImageClassifier
from aib_keras.models.vgg import pool, stage

# Jetley et al.'s VGG has convolutions in the place of VGG-16's first fully connected layers, after
# these stages. Zhou et al. take the fully connected layers away, and the pooling before them.
_STAGES = 3


def cam_features(input_shape, width=1.0):
    """VGG up to the last convolution whose map is spatial: `(B, S, S, 3)` to `(B, S/4, S/4, C)`."""
    inputs = x = keras.Input(input_shape)
    for number in range(1, _STAGES + 1):
        x = stage(x, number, width)
        if number < _STAGES:
            x = pool(x, number)
    return keras.Model(inputs, x, name="feature_extractor")


@keras.saving.register_keras_serializable(package="aib_keras")
class CAMClassifier(ImageClassifier):
    """Global average pooling and a linear layer, whose class activation map is its spatial map.

    `explain` returns as `attention` the map of the predicted class, the sum over the channels of
    feature times the class's weight: real numbers, in units of logits, whose mean is the class's
    logit without its bias.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, Eq. 1 and 2.

    Args:
        feature_extractor: Model from normalised images to features `(B, h, w, C)`.
        head: `keras.layers.Dense` from pooled features `(B, C)` to logits.
        preprocessing: As in `ImageClassifier`.
    """

    part_names = ("preprocessing", "feature_extractor", "head")
    map_names = ("attention",)

    def __init__(self, feature_extractor, head, preprocessing=None, **kwargs):
        super().__init__(preprocessing=preprocessing, **kwargs)
        self.feature_extractor = feature_extractor
        self.head = head
        self.pooling = layers.GlobalAveragePooling2D(data_format="channels_last")

    def build(self, input_shape):
        if not self.feature_extractor.built:
            self.feature_extractor.build(input_shape)
        features_shape = self.feature_extractor.compute_output_shape(input_shape)
        if not self.head.built:
            self.head.build((features_shape[0], features_shape[-1]))

    def call(self, images, training=None):
        return self._forward(images, training)[1]

    def _forward(self, images, training):
        features = self.feature_extractor(self.preprocess(images), training=training)
        logits = ops.cast(self.head(self.pooling(features)), "float32")
        return features, logits

    def explanation(self, images):
        """`logits` `(B, num_classes)` and the predicted class's map `attention` `(B, h, w, 1)`."""
        features, logits = self._forward(images, training=False)
        # The maps of all classes, and of these the predicted one's as the highest where the others
        # are put at the lowest: LiteRT has no operation on the bits that Keras's argmax looks at,
        # and leaves a top_k whose values are not used in floats.
        maps = ops.matmul(ops.cast(features, "float32"), ops.cast(self.head.kernel, "float32"))
        is_predicted = logits >= ops.max(logits, axis=-1, keepdims=True)
        lowest = ops.min(maps, axis=-1, keepdims=True)
        maps = ops.where(is_predicted[:, None, None, :], maps, lowest)
        return {"logits": logits, "attention": ops.max(maps, axis=-1, keepdims=True)}
