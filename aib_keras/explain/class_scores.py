"""The class whose logit a saliency map explains."""

import functools
import inspect

import numpy as np
from keras import ops

from aib_keras.explain import runners
from aib_keras.models import class_outputs
from aib_keras.models.through_predict import ThroughPredict, predict_undistributed
from aib_keras.utils import compiled
from aib_keras.utils.batches import images_of_batches, is_dataset
from aib_keras.utils.checks import check_class_index, check_integer


class ClassScores(ThroughPredict):
    """Base of models from images and classes to maps of what changes the logits of the classes."""

    def logits_of(self, images, classes):
        """Returns the logits of the classes, `(B,)`. A class below 0 is the predicted one."""
        logits = class_outputs.logits(self.classifier, images)
        chosen = ops.where(classes < 0, ops.argmax(logits, axis=-1), classes)
        return ops.sum(ops.one_hot(chosen, logits.shape[-1], dtype="float32") * logits, axis=-1)

    def score(self, images, classes):
        """Returns the sum of the classes' logits.

        Its gradient with respect to one image is that of the image's own logit.
        """
        return ops.sum(self.logits_of(images, classes))


def predict(runner, model, images, class_index, batch_size):
    """Returns what a `ClassScores` computes of all images, after checking them and the classes."""
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    images = runners.checked_images(model, images)
    classes = _classes(model, class_index, images)
    return predict_undistributed(runner, [images, classes], batch_size)


def batch_by_batch(function):
    """Decorates a function `(model, images, ...)` that returns maps, so that it takes data sets.

    `images` may then be a data set of batches, of which one is in memory at a time.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments
        if not is_dataset(given.get("images")):
            return function(*args, **kwargs)
        classes = given.get("class_index")
        per_image = None if np.ndim(classes) == 0 else np.asarray(classes)
        found, count = [], 0
        with compiled.shared():
            for images in images_of_batches(given["images"]):
                if per_image is not None:
                    part = per_image[count : count + len(images)]
                    classes = check_class_index(part, len(images))
                found.append(function(**{**given, "images": images, "class_index": classes}))
                count += len(images)
        if not count:
            raise ValueError("The data set `images` has no batches.")
        if per_image is not None:
            check_class_index(per_image, count)
        return np.concatenate(found)

    return call


def _classes(model, class_index, images):
    """Returns the class of each image, int32 `(N,)`; -1 stands for the predicted one."""
    if class_index is None:
        return np.full(len(images), -1, "int32")
    return check_class_index(class_index, len(images), runners.count_classes(model, images))


def known_classes(model, class_index, images, batch_size):
    """Returns the class of each image, int32 `(N,)`, the predicted one in place of -1."""
    if class_index is None:
        class_index = predict_undistributed(model, images, batch_size).argmax(axis=-1)
    return _classes(model, class_index, images)
