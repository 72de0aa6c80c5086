"""Saliency maps of pixels, from gradients."""

import keras
import numpy as np
from keras import ops

from aib_keras.explain import runners
from aib_keras.explain.class_scores import ClassScores, batch_by_batch, predict
from aib_keras.explain.gradients import gradient
from aib_keras.utils.checks import check_size


@batch_by_batch
def gradient_map(model, images, map_shape=None, class_index=None, batch_size=64):
    """Computes how strongly each pixel changes a class's logit, without sampling.

    The value of a pixel is the largest absolute gradient of its channels.

    Source: Simonyan et al., Deep Inside Convolutional Networks, 2014, section 3.1.

    Args:
        model: As in `grad_cam`.
        images: As in `grad_cam`.
        map_shape: Optional (height, width) of a coarser map, at most (H, W). Each of its cells is
            the mean over its pixels. Defaults to (H, W).
        class_index: As in `grad_cam`.
        batch_size: Integer, the number of images per forward pass.

    Returns:
        A float32 array `(N, H, W, 1)`, or of `map_shape`, of values of at least 0, in logits per
        unit of the images.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If `images` are not as described, the model has no such class, or `map_shape` is
            finer than the images.
    """
    runners.check_differentiable(runners.check_model(model))
    if map_shape is not None:
        map_shape = check_size("map_shape", map_shape)
        sides = np.shape(images)[1:3]
        if any(cells > pixels for cells, pixels in zip(map_shape, sides, strict=False)):
            raise ValueError(
                f"`map_shape` must be at most the images' {sides}, got {map_shape}: the gradient "
                "has one value per pixel."
            )
    return predict(
        runners.runner(_GradientMap, model, map_shape), model, images, class_index, batch_size
    )


class _GradientMap(ClassScores):
    def __init__(self, classifier, map_shape):
        super().__init__(classifier, name="saliency")
        self.pooling = None
        if map_shape is not None:
            self.pooling = keras.layers.AdaptiveAveragePooling2D(
                map_shape, data_format="channels_last", dtype="float32"
            )

    def call(self, inputs):
        images, classes = inputs
        images = ops.cast(images, "float32")
        found = gradient(lambda each: self.score(each, classes), images, self.classifier)
        found = ops.max(ops.abs(found), axis=-1, keepdims=True)
        return found if self.pooling is None else self.pooling(found)
