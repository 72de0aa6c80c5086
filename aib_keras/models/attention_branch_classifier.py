"""A classifier with an attention branch, trained with two losses (Fukui et al., CVPR 2019)."""

import threading

import keras

from aib_keras.models.backbone_classifiers import MapClassifier


class _FunctionLoss(keras.losses.Loss):
    """The loss of a function, which `compile` accepts as well as a `Loss`."""

    def __init__(self, function):
        super().__init__(name="loss")
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)


@keras.saving.register_keras_serializable(package="aib_keras")
class AttentionBranchClassifier(MapClassifier):
    """Trains a backbone with two classifiers: the loss of its logits plus that of its branch.

    The loss that `compile` gets is applied to both with equal weight, in training and in
    evaluation. Metrics see the main logits. As a part of another model, whose `compile` gets the
    loss, it is trained without the loss of its branch.

    Source: Fukui et al., Attention Branch Network, CVPR 2019, Eq. 1.

    Args:
        backbone: As in `MapClassifier`, with a further output `branch_logits` `(B, num_classes)`.
        preprocessing: As in `ImageClassifier`.
        **kwargs: `features_layer`, as in `ImageClassifier`, and arguments of `keras.Model`.
    """

    def __init__(self, backbone, preprocessing=None, **kwargs):
        super().__init__(backbone, preprocessing=preprocessing, **kwargs)
        # From `call` to `compute_loss` of the same step. MirroredStrategy runs each replica in a
        # thread of its own.
        self._untracked.step = threading.local()

    def call(self, images, training=None, sample=None):
        outputs = self.all_outputs(images, training=training, sample=sample)
        self._untracked.step.branch_logits = outputs["branch_logits"]
        return outputs["logits"]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        branch_logits = vars(self._untracked.step).pop("branch_logits", None)
        loss = super().compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )
        if self.loss is None or y is None or branch_logits is None:
            return loss
        # Keras takes a list, too.
        compiled = self.loss[0] if isinstance(self.loss, (list, tuple)) else self.loss
        loss_function = keras.losses.get(compiled)
        if not isinstance(loss_function, keras.losses.Loss):
            loss_function = _FunctionLoss(loss_function)
        return loss + loss_function(y, branch_logits, sample_weight=sample_weight)
