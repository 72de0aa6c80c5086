"""The data of `fit`, in all forms that it takes, as batches."""

import dataclasses

import keras
import numpy as np

from aib_keras.data import AugmentedBatches, ImageData, batches_of
from aib_keras.models import ImageClassifier
from aib_keras.models.graphs import outputs_of


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


def check_arrays(model, *data):
    """Checks images that were passed as arrays, as the model's own `fit` does.

    Args:
        model: Built `ImageClassifier`.
        *data: What `as_batches` returned.
    """
    for batches in data:
        arrays = getattr(batches, "data", None)
        if isinstance(arrays, _Arrays):
            # The warning is for the caller of `fit`.
            model._check_images(arrays.images, stacklevel=5)


def check_labels(model, *data):
    """Raises a ValueError if labels that are known are none of a built model's classes.

    Some backends would train with them, as with an image of no class.

    Args:
        model: Built `keras.Model`.
        *data: What `as_batches` returned.
    """
    known = [batches for batches in data if isinstance(batches, AugmentedBatches)]
    if not known:
        return
    labels = np.concatenate([np.unique(batches.data.labels) for batches in known])
    low, high, classes = labels.min(), labels.max(), _number_of_outputs(model, known[0])
    if low < 0 or high >= classes:
        raise ValueError(
            f"The labels are in [{low}, {high}], and {model.name} has {classes} outputs, for the "
            f"labels 0 to {classes - 1}. Number the classes from 0, and give the model an output "
            "for each, also if there are two."
        )


def _number_of_outputs(model, batches):
    if outputs := outputs_of(model):
        return outputs[0].shape[-1]
    if isinstance(model, ImageClassifier):
        images = keras.KerasTensor((1, *model.get_build_config()["input_shape"][1:]))
    else:
        inputs, *_ = batches[0]
        images = keras.KerasTensor((1, *inputs.shape[1:]), dtype=str(inputs.dtype))
    return keras.tree.flatten(model.compute_output_spec(images))[0].shape[-1]


def check_same_classes(train_data, validation_data):
    """Raises a ValueError if a label stands for another class in each of two `ImageData`."""
    if not isinstance(train_data, ImageData) or not isinstance(validation_data, ImageData):
        return
    trained, evaluated = train_data.class_names, validation_data.class_names
    # One may end earlier, if its classes are the numbers up to its largest label.
    differing = [pair for pair in zip(trained, evaluated, strict=False) if pair[0] != pair[1]]
    if differing:
        raise ValueError(
            f"A label stands for different classes in the training and the validation examples: "
            f"{differing[0][0]!r} and {differing[0][1]!r}. Load both with the same class folders."
        )


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
