"""A model that runs something of a classifier through Keras's `predict`."""

import keras


class ThroughPredict(keras.Model):
    """Base class of models that run a method of a classifier through `predict`.

    `predict` works in batches, compiled, and on every backend. A subclass implements
    `call(images)`.

    Args:
        classifier: Built `ImageClassifier`.
        name: String, as in `keras.Model`.
    """

    def __init__(self, classifier, name):
        # The classifier casts its images itself.
        super().__init__(autocast=False, name=name)
        self.classifier = classifier

    def build(self, input_shape):
        pass
