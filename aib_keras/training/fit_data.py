"""The data of `fit`, in all forms that it takes, as batches."""

import dataclasses

import numpy as np

from aib_keras.data import AugmentedBatches, ImageData, batches_of


@dataclasses.dataclass(frozen=True, eq=False)
class _Arrays:
    """Inputs and labels in memory, as `AugmentedBatches` reads them."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.images)


def as_batches(data, config, augment=None, training=False):
    """Returns data as something that Keras takes in batches."""
    if data is None and not training:
        return None
    if isinstance(data, (tuple, list)) and len(data) == 2:
        inputs, labels = (np.asarray(part) for part in data)
        if len(inputs) != len(labels) or labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(
                f"Expected inputs (N, ...) and integer labels (N,), got shapes {inputs.shape} and "
                f"{labels.shape} with labels of {labels.dtype}."
            )
        data = _Arrays(inputs, labels)
    if isinstance(data, (ImageData, _Arrays)):
        if training and len(data) < config.batch_size:
            raise ValueError(
                f"{len(data)} training examples do not fill one batch of {config.batch_size}. "
                "Choose a smaller `batch_size`, or take more examples."
            )
        return batches_of(
            data,
            config.batch_size,
            num_workers=config.num_workers,
            augment=augment,
            shuffle=training,
            seed=config.seed,
            drop_remainder=training,
        )
    if augment is not None:
        raise ValueError("`augment` is for an ImageData or arrays. Augment your batches yourself.")
    if training and config.checkpoint_steps and not isinstance(data, AugmentedBatches):
        raise ValueError(
            "`checkpoint_steps` is for an ImageData or arrays: in the middle of an epoch, a "
            "training on other batches cannot be resumed to the same weights. Leave it out."
        )
    try:
        len(data)
    except TypeError as error:
        raise TypeError(
            "Expected an ImageData, a tuple of arrays (inputs, labels), or batches of a known "
            f"length, got {type(data).__name__}. Of a tf.data.Dataset, set the length with "
            "`apply(tf.data.experimental.assert_cardinality(batches))`."
        ) from error
    return data


def weights_of_classes(batches, config):
    """Returns the weight of each class, with a mean over the examples of 1, or None."""
    if config.class_weights == "equal":
        return None
    if not isinstance(batches, AugmentedBatches):
        raise ValueError(
            '`class_weights="balanced"` needs training data whose labels are known: an ImageData '
            "or a tuple of arrays, not batches."
        )
    classes, counts = np.unique(batches.data.labels, return_counts=True)
    weights = len(batches.data) / len(classes) / counts
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
