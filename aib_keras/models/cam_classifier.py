"""A classifier whose map is the class activation map (Zhou et al., CVPR 2016)."""

import keras
from keras import layers, ops

from aib_keras.models.image_classifier import ImageClassifier


@keras.saving.register_keras_serializable(package="aib_keras")
class CAMClassifier(ImageClassifier):
    """Global average pooling and a linear layer, whose class activation map is its spatial map.

    `explain` returns as `attention` the map of the predicted class: the sum over the channels of
    feature times class weight. Its values are real numbers in units of logits. Their mean is the
    logit of the class without its bias.

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
        input_shape = self._preprocessed_shape(input_shape)
        if not self.feature_extractor.built:
            self.feature_extractor.build(input_shape)
        features_shape = self.feature_extractor.compute_output_shape(input_shape)
        if not self.head.built:
            self.head.build((features_shape[0], features_shape[-1]))

    def _trunk_layers(self):
        # The classifier is all that follows the features.
        return []

    def all_outputs(self, images, training=None, sample=None):
        del sample
        features = self.feature_extractor(self.preprocess(images), training=training)
        logits = ops.cast(self.head(self.pooling(features)), "float32")
        # The maps of all classes. The predicted one's stays highest when the others are put at the
        # lowest value: LiteRT has no operation on the bits that Keras's argmax looks at, and leaves
        # a top_k whose values are not used in floats.
        maps = ops.matmul(ops.cast(features, "float32"), ops.cast(self.head.kernel, "float32"))
        is_predicted = logits >= ops.max(logits, axis=-1, keepdims=True)
        lowest = ops.min(maps, axis=-1, keepdims=True)
        maps = ops.where(is_predicted[:, None, None, :], maps, lowest)
        return {"logits": logits, "attention": ops.max(maps, axis=-1, keepdims=True)}
