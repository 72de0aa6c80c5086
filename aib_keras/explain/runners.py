"""What saliency maps and attacks share: they run something of any Keras model through `predict`."""

import keras

from aib_keras.models import ImageClassifier, image_checks
from aib_keras.models.class_outputs import check_class_outputs, check_class_shape
from aib_keras.models.graphs import check_channels_last, inputs_of
from aib_keras.utils.compiled import shared_functions


def check_model(model):
    """Returns `model` if it is a Keras model from images to classes, built or building itself."""
    # An ImageClassifier is built when it sees the images.
    if not isinstance(model, keras.Model) or not (
        model.built or isinstance(model, ImageClassifier)
    ):
        raise TypeError(
            "`model` must be a built keras.Model from images to logits or probabilities, got "
            f"{type(model).__name__}. A model that is not built is, once it has been called on "
            "some images."
        )
    check_channels_last(model)
    check_class_outputs(model)
    return model


def check_differentiable(model):
    """Raises a ValueError for a model that casts its images to integers, where gradients end."""
    parts = [each for each in model._flatten_layers() if isinstance(each, keras.Model)]
    for part in parts:
        for tensor in inputs_of(part):
            dtype = keras.backend.standardize_dtype(tensor.dtype)
            if "float" not in dtype:
                raise ValueError(
                    f"{part.name} takes images as {dtype}, so the gradient with respect to them is "
                    "0. Build it with a keras.Input of dtype float32: the values can stay the same."
                )


def checked_images(model, images):
    """Returns images as an array that the model takes."""
    if isinstance(model, ImageClassifier):
        return model._as_batch(images)
    images = image_checks.checked_array(model, images)
    if not len(images):
        raise ValueError(f"{model.name} needs at least one image, got an array {images.shape}.")
    image_checks.check_finite(model.name, images)
    return images


def count_classes(model, images):
    """Returns the number of classes of a model that takes these images."""
    outputs = model.compute_output_spec(keras.KerasTensor(images.shape, dtype="float32"))
    # keras.Model([x], [y]) has a list of one here.
    (outputs,) = keras.tree.flatten(outputs)
    check_class_shape(model, outputs.shape)
    return outputs.shape[-1]


def runner(kind, model, *arguments):
    """Returns a new runner, or one that the model (an `ImageClassifier`) or the loop keeps.

    Args:
        kind: A subclass of `ThroughPredict`.
        model: The model that it runs.
        *arguments: Further arguments of `kind`, hashable.
    """
    own = isinstance(model, ImageClassifier)
    found = model._functions().saliency if own else shared_functions()
    if found is None:
        return kind(model, *arguments)
    # The functions of a loop may be those of several models.
    key = (kind, id(model), *arguments)
    if key not in found:
        found[key] = kind(model, *arguments)
    return found[key]
