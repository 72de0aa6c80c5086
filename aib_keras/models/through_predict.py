"""What a classifier can tell beside its logits, for many images at once."""

import keras


class ThroughPredict(keras.Model):
    """Base of models that run something of a classifier through `predict`.

    That is in batches, compiled, and on any backend. A subclass has `call(images)`.

    Args:
        classifier: `ImageClassifier`, built.
        name: String, as in `keras.Model`.
    """

    def __init__(self, classifier, name):
        # The classifier casts its images itself.
        super().__init__(autocast=False, name=name)
        self.classifier = classifier

    def build(self, input_shape):
        pass
