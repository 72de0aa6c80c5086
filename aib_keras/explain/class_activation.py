"""Class activation maps of any Keras model: Grad-CAM, Grad-CAM++ and Score-CAM."""

import numpy as np
from keras import ops

from aib_keras.explain import runners
from aib_keras.explain.class_scores import ClassScores, batch_by_batch, known_classes, predict
from aib_keras.explain.gradients import gradient
from aib_keras.explain.tapped_layers import Features, output_of, tapped_layer
from aib_keras.models.through_predict import predict_undistributed


@batch_by_batch
def grad_cam(model, images, layer=None, class_index=None, batch_size=64):
    """Computes Grad-CAM maps, without sampling.

    The map is ReLU(a weighted sum of the features' channels). The weight of a channel is the mean
    over its positions of the gradient of the class's logit. Paths from the images to the logits
    that bypass the layer count as constant.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2. This library has its own
    implementation because others (tf-keras-vis 0.8.7, xplique 2.0.2) need TensorFlow and a
    functional model whose graph they can rebuild. It works for nested models, models with
    preprocessing inside, and models that end in a softmax. Of a subclassed model the softmax is
    left out if it has only one, at its end. Otherwise the maps are nearly 0 where the model is
    sure.

    Args:
        model: Built `keras.Model` from images to logits or probabilities `(B, C)`.
        images: Array `(N, H, W, channels)`, in the range that the model takes, or batches of such
            images, with or without labels: a `keras.utils.PyDataset`, a `tf.data.Dataset`, a
            PyTorch `DataLoader`.
        layer: Optional layer or operation of the model, or its name, whose output `(B, h, w, C)`
            is used as the features. By default, for an `ImageClassifier` it is
            `model.features_layer`, which in the zoo is the layer at the place of IB attention,
            before any modulation. For other models it is the last layer, or operation such as a
            sum, whose output is a map.
        class_index: Integer, or integers `(N,)`, the class to explain. Defaults to the predicted
            class of each image.
        batch_size: Integer, the number of images per forward pass.

    Returns:
        A float32 array `(N, h, w, 1)` of values of at least 0, in logits per position.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If `images` are not as described, the model has no such layer or class, the
            layer's output is not `(B, h, w, C)`, or no layer is passed and none is found.
    """
    tapped = tapped_layer(runners.check_model(model), layer)
    return predict(runners.runner(_GradCAM, model, tapped), model, images, class_index, batch_size)


@batch_by_batch
def grad_cam_plus_plus(model, images, layer=None, class_index=None, batch_size=64):
    """Computes Grad-CAM++ maps, which weight the positions of a channel by their gradients.

    They cover several objects of a class better than those of Grad-CAM.

    Source: Chattopadhyay et al., Grad-CAM++, WACV 2018, Eq. 10 and 19, for a score that is the
    exponential of the logit. Its features follow a ReLU: in the weights, negative ones count as 0.

    The arguments, returns and errors are those of `grad_cam`. The values have no unit.
    """
    tapped = tapped_layer(runners.check_model(model), layer)
    return predict(
        runners.runner(_GradCAMPlusPlus, model, tapped), model, images, class_index, batch_size
    )


@batch_by_batch
def score_cam(model, images, layer=None, class_index=None, batch_size=64):
    """Computes Score-CAM maps, which weight each channel by the logit of the image masked with it.

    Each channel of the features, upsampled and scaled to [0, 1], is laid over the image: where it
    is 0, the image's mean colour is shown. The weight of the channel is the softmax over the
    channels of the class's logit for that image. The map is ReLU(the weighted sum of the channels).
    It needs no gradient, and one forward pass per image and channel.

    Source: Wang et al., Score-CAM, CVPR Workshops 2020, Eq. 2 to 4. They have black, or zero after
    normalisation, in place of the mean colour.

    The arguments, returns and errors are those of `grad_cam`; the values have no unit.
    """
    tapped = tapped_layer(runners.check_model(model), layer)
    features = predict(
        runners.runner(Features, model, tapped), model, images, class_index, batch_size
    )
    images = ops.convert_to_numpy(images).astype(np.float32)
    classes = known_classes(model, class_index, images, batch_size)
    scorer = runners.runner(_ClassLogit, model)
    maps = np.empty((*features.shape[:3], 1), np.float32)
    for index, (image, channels) in enumerate(zip(images, features, strict=True)):
        mean = image.mean(axis=(0, 1))
        masks = _channel_masks(channels, image.shape[:2])
        chosen = np.full(len(masks), classes[index])
        # A batch at a time, because all of them at once can be gigabytes.
        parts = (slice(start, start + batch_size) for start in range(0, len(masks), batch_size))
        logits = np.concatenate(
            [
                predict_undistributed(
                    scorer, [mean + masks[part] * (image - mean), chosen[part]], batch_size
                )
                for part in parts
            ]
        ).astype(np.float64)
        weights = np.exp(logits - logits.max())
        maps[index, ..., 0] = np.maximum(channels @ (weights / weights.sum()), 0)
    return maps


class _ClassLogit(ClassScores):
    def __init__(self, classifier):
        super().__init__(classifier, name="class_logit")

    def call(self, inputs):
        return self.logits_of(*inputs)


class _GradCAM(Features):
    def call(self, inputs):
        images, classes = inputs
        features = self.features_of(images)

        def score(features):
            with output_of(self.tapped, replaced_by=features):
                return self.score(images, classes)

        gradients = gradient(score, features, self.classifier)
        features = ops.cast(features, "float32")
        return ops.relu(ops.sum(features * self.weights_of(features, gradients), -1, keepdims=True))

    def weights_of(self, features, gradients):
        """Returns the weights of the channels, `(B, 1, 1, C)`."""
        del features
        return ops.mean(gradients, axis=(1, 2), keepdims=True)


class _GradCAMPlusPlus(_GradCAM):
    def weights_of(self, features, gradients):
        squares = ops.square(gradients)
        # Without the ReLU, the divisor would have a root.
        total = ops.sum(ops.relu(features), axis=(1, 2), keepdims=True)
        divisor = 2.0 * squares + total * squares * gradients
        shares = ops.where(divisor != 0, squares / ops.where(divisor != 0, divisor, 1.0), 0.0)
        return ops.sum(shares * ops.relu(gradients), axis=(1, 2), keepdims=True)


def _channel_masks(channels, shape):
    """Returns the channels of `(h, w, C)` as maps in [0, 1] over an image, `(C, H, W, 1)`.

    A channel that is the same everywhere shows nothing.
    """
    masks = ops.image.resize(
        np.moveaxis(channels, -1, 0)[..., None], shape, data_format="channels_last"
    )
    masks = ops.convert_to_numpy(masks)
    masks = masks - masks.min(axis=(1, 2), keepdims=True)
    highest = masks.max(axis=(1, 2), keepdims=True)
    # Not decided by `masks`: on JAX and torch, resizing rounds.
    varies = (np.ptp(channels, axis=(0, 1)) > 0)[:, None, None, None] & (highest > 0)
    return np.divide(masks, highest, out=np.zeros_like(masks), where=varies)
