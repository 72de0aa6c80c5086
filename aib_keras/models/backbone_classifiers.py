"""Classifiers around a backbone that already ends in logits."""

import keras
from keras import ops

from aib_keras.models.image_classifier import ImageClassifier


@keras.saving.register_keras_serializable(package="aib_keras")
class PlainClassifier(ImageClassifier):
    """A backbone from images to logits, without a spatial map.

    Args:
        backbone: Model or layer from normalised images `(B, H, W, 3)` to logits.
        preprocessing: As in `ImageClassifier`.
        **kwargs: `features_layer`, as in `ImageClassifier`, and arguments of `keras.Model`.
    """

    part_names = ("preprocessing", "backbone")

    def __init__(self, backbone, preprocessing=None, **kwargs):
        super().__init__(preprocessing=preprocessing, **kwargs)
        self.backbone = backbone

    def build(self, input_shape):
        if not self.backbone.built:
            self.backbone.build(self._preprocessed_shape(input_shape))

    def all_outputs(self, images, training=None, sample=None):
        del sample
        logits = self.backbone(self.preprocess(images), training=training)
        return {"logits": ops.cast(logits, "float32")}

    def _trunk_layers(self):
        *before, _ = (layer for layer in self.backbone.layers if layer.weights)
        return before


@keras.saving.register_keras_serializable(package="aib_keras")
class MapClassifier(PlainClassifier):
    """A backbone that returns logits and spatial maps.

    Args:
        backbone: Model from normalised images `(B, H, W, 3)` to a dict with `logits`
            `(B, num_classes)`, `attention` `(B, h, w, 1)`, and whatever else `explain` should
            return.
        preprocessing: As in `ImageClassifier`.
        **kwargs: `features_layer`, as in `ImageClassifier`, and arguments of `keras.Model`.
    """

    map_names = ("attention",)
    # What comes after the features is not one chain here.
    _trunk_layers = ImageClassifier._trunk_layers

    def all_outputs(self, images, training=None, sample=None):
        del sample
        outputs = self.backbone(self.preprocess(images), training=training)
        return {name: ops.cast(value, "float32") for name, value in outputs.items()}
