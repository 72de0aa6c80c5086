"""What saliency maps and attacks share: they run something of any Keras model through `predict`."""

import keras
from keras import ops

from aib_keras.models import ImageClassifier, image_checks
from aib_keras.models.final_softmax import without_softmax
from aib_keras.utils import processes


def check_model(model):
    """Returns `model` if it is a Keras model that is built or builds itself."""
    # An ImageClassifier is built when it sees the images.
    if not isinstance(model, keras.Model) or not (
        model.built or isinstance(model, ImageClassifier)
    ):
        raise TypeError(
            "`model` must be a built keras.Model from images to logits or probabilities, got "
            f"{type(model).__name__}."
        )
    return model


def checked_images(model, images):
    """Returns images as an array that the model takes."""
    if isinstance(model, ImageClassifier):
        return model._as_batch(images)
    images = ops.convert_to_numpy(images)
    image_checks.check_shape(model.name, images, _input_shape(model))
    image_checks.check_finite(model.name, images)
    return images


def count_classes(model, images):
    """Returns the number of classes of a model that takes these images."""
    outputs = model.compute_output_spec(keras.KerasTensor(images.shape, dtype="float32"))
    return outputs.shape[-1]


def logits(model, images):
    """Returns the logits of a batch, float32 `(B, C)`, without sampling."""
    with without_softmax(model):
        return ops.cast(model(images, training=False), "float32")


def runner(kind, model, *arguments):
    """Returns a new runner, or the one that an `ImageClassifier` keeps: compiling takes seconds.

    Args:
        kind: A subclass of `ThroughPredict`.
        model: The model that it runs.
        *arguments: Further arguments of `kind`, hashable.
    """
    if not isinstance(model, ImageClassifier):
        return kind(model, *arguments)
    kept, key = model._untracked.saliency, (kind, *arguments)
    if key not in kept:
        kept[key] = kind(model, *arguments)
    return kept[key]


def run(runner, inputs, batch_size):
    """Returns the outputs of a runner for all inputs."""
    # Batches need not divide evenly between JAX devices.
    with processes.undistributed():
        return runner.predict(inputs, batch_size=batch_size, verbose=0)


def _input_shape(model):
    shape = getattr(model, "input_shape", None)
    is_one_batch = isinstance(shape, tuple) and len(shape) == 4
    return shape if is_one_batch else (None, None, None, None)
