"""The input and the outputs of an exported model."""

import keras
from keras import ops

from aib_keras.models.image_classifier import ImageClassifier
from aib_keras.version import __version__

SIGNATURE = "serving_default"
INPUT_NAME = "images"
_OTHER_FLOATS = ("float16", "bfloat16", "float64")


def check_exportable(model):
    """Checks that `model` can be exported in this process.

    Raises:
        TypeError: if it is not an image classifier of this library.
        RuntimeError: if Keras runs on another backend than TensorFlow.
        ValueError: if it is not built for images of one size.
    """
    if not isinstance(model, ImageClassifier):
        raise TypeError(
            "aib_keras.export takes the image classifiers of aib_keras.zoo and aib_keras.models, "
            f"got {type(model).__name__}. Export other Keras models with model.export(path)."
        )
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Export needs the TensorFlow backend of Keras, but this process runs "
            f"{keras.backend.backend()}. Save {model.name} with model.save('model.keras'), then "
            "load and export it in a process that is started with KERAS_BACKEND=tensorflow."
        )
    if not model.built:
        raise ValueError(
            f"{model.name} is not built: it has no weights to export yet. Call it on a batch of "
            "images, or model.build((None, height, width, 3)), and load its weights."
        )
    if None in _image_shape(model):
        raise ValueError(
            f"{model.name} was built for images of shape {_image_shape(model)}; an exported model "
            "needs a fixed height and width. Build it with model.build((None, height, width, 3))."
        )


def in_float32(model):
    """Returns `model` itself if it computes in float32, else a copy of it that does.

    An exported model computes in float32 whatever its dtype policy in training was: LiteRT has no
    half-precision convolutions, and on CPUs they are slow.
    """
    # A backbone can have another policy than the model around it.
    if {layer.compute_dtype for layer in model._flatten_layers()}.isdisjoint(_OTHER_FLOATS):
        return model
    config = _with_float32_policies(keras.saving.serialize_keras_object(model))
    copy = keras.saving.deserialize_keras_object(config)
    copy.build((None, *_image_shape(model)))
    copy.set_weights(model.get_weights())
    return copy


def input_spec(model, dtype=None):
    """Returns the `tf.TensorSpec` of a batch of images of any length.

    Args:
        model: Built `ImageClassifier`.
        dtype: Dtype of the images; by default that of `input_dtype`.
    """
    import tensorflow as tf

    shape = (None, *_image_shape(model))
    return tf.TensorSpec(shape, dtype or input_dtype(model), name=INPUT_NAME)


def input_dtype(model):
    """Returns `"uint8"`, or `"float32"` for a model without preprocessing."""
    return "float32" if model.preprocessing is None else "uint8"


def exported_outputs(model, images):
    """Computes the outputs of an exported model for a batch of images.

    This is deterministic: it samples nothing, and it changes no losses, metrics or seeds.

    Args:
        model: Built `ImageClassifier`.
        images: Tensor or array `(B, height, width, 3)` as the model takes it.

    Returns:
        A dict of float32 tensors: `probabilities` and `logits`, `(B, num_classes)`; for a model
        with spatial maps also each map under its name, `(B, h, w, 1)`, and `<name>_quantized` if
        the map is quantised.
    """
    # Layers update metrics and add losses in `call`. Without the scope, every request to a served
    # model would write to variables, and model.losses would keep symbolic tensors.
    with keras.StatelessScope():
        explained = model.all_outputs(images, training=False, sample=False)
        outputs = {"probabilities": ops.softmax(explained["logits"]), "logits": explained["logits"]}
    for name in model.map_names:
        outputs[name] = explained[name]
        if f"{name}_quantized" in explained:
            outputs[f"{name}_quantized"] = explained[f"{name}_quantized"]
    return outputs


def checked_class_names(class_names, num_classes):
    """Returns the names of the classes as a list of strings; by default "0", "1", and so on.

    Raises:
        ValueError: if there is not exactly one name for each class, or two names are equal.
    """
    if class_names is None:
        return [str(index) for index in range(num_classes)]
    names = [str(name) for name in class_names]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ValueError(
            f"`class_names` must be {num_classes} different names, one for each class in the order "
            f"of the labels, got {len(names)} of which {len(set(names))} are different: {names}."
        )
    return names


def description(model):
    """Returns the description of a model for an exported file."""
    return (
        f"{model.name} of aib_keras {__version__}, an image classifier"
        f"{' that shows where it looks' if model.map_names else ''}."
    )


def _image_shape(model):
    return tuple(model.get_build_config()["input_shape"][1:])


def _with_float32_policies(config):
    if isinstance(config, list | tuple):
        return type(config)(_with_float32_policies(value) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {**config["config"], "name": "float32"}}
    return {key: _with_float32_policies(value) for key, value in config.items()}
