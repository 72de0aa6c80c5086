"""The class whose logit a saliency map explains."""

import numpy as np
from keras import ops

from aib_keras.explain import runners
from aib_keras.models.through_predict import ThroughPredict
from aib_keras.utils.checks import check_class_index, check_integer


class ClassScores(ThroughPredict):
    """Base of models from images and classes to maps of what changes the logits of the classes."""

    def logits_of(self, images, classes):
        """Returns the logits of the classes, `(B,)`. A class below 0 is the predicted one."""
        logits = runners.logits(self.classifier, images)
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
    return runners.run(runner, [images, classes], batch_size)


def _classes(model, class_index, images):
    """Returns the class of each image, int32 `(N,)`; -1 stands for the predicted one."""
    if class_index is None:
        return np.full(len(images), -1, "int32")
    return check_class_index(class_index, len(images), runners.count_classes(model, images))


def known_classes(model, class_index, images, batch_size):
    """Returns the class of each image, int32 `(N,)`, the predicted one in place of -1."""
    if class_index is None:
        class_index = model.predict(images, batch_size=batch_size, verbose=0).argmax(axis=-1)
    return _classes(model, class_index, images)
