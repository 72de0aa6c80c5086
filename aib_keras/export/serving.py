"""What an exported model computes, from which input."""

import keras
from keras import ops

from aib_keras.models.image_classifier import ImageClassifier
from aib_keras.version import __version__

SIGNATURE = "serving_default"
INPUT_NAME = "images"


def check_exportable(model):
    """Raises before any work is done unless `model` can be exported here and now.

    Raises:
        TypeError: if it is not an image classifier of this library.
        RuntimeError: on another backend than TensorFlow.
        ValueError: if it is not built for images of one size.
    """
    if not isinstance(model, ImageClassifier):
        raise TypeError(
            "aib_keras.export takes the image classifiers of aib_keras.zoo and aib_keras.models, "
            f"got {type(model).__name__}. Any other Keras model: model.export(path)."
        )
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Export needs the TensorFlow backend, this process runs {keras.backend.backend()}. "
            f"Save {model.name} with model.save('model.keras') or "
            "model.save_weights('model.weights.h5'), and load and export it in a process started "
            "with KERAS_BACKEND=tensorflow."
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
    """`model` itself, or a copy with its weights that computes in float32.

    An exported model computes in float32 whatever policy it was trained under: LiteRT has no
    half-precision convolution, and CPUs that serve have slow ones at best.
    """
    if model.compute_dtype == "float32":
        return model
    config = _with_float32_policies(keras.saving.serialize_keras_object(model))
    copy = keras.saving.deserialize_keras_object(config)
    copy.build((None, *_image_shape(model)))
    copy.set_weights(model.get_weights())
    return copy


def input_spec(model, dtype=None):
    """The `tf.TensorSpec` of a batch of images, of any length; by default of `input_dtype`."""
    import tensorflow as tf

    shape = (None, *_image_shape(model))
    return tf.TensorSpec(shape, dtype or input_dtype(model), name=INPUT_NAME)


def input_dtype(model):
    """`"uint8"`, in [0, 255], or `"float32"` for a model without preprocessing."""
    return "float32" if model.preprocessing is None else "uint8"


def serving_outputs(model, images):
    """The named float32 tensors that an exported model gives for a batch of images.

    Deterministic: nothing is sampled, and neither losses nor metrics nor the state of the noise
    are touched.

    Returns:
        A dict: `probabilities` and `logits`, `(B, num_classes)`; of a model with spatial maps each
        of them by its name, `(B, h, w, 1)`, and `<name>_quantized` if it is quantised.
    """
    # Layers update metrics and add losses in `call`. Without the scope every request to a served
    # model would write to variables, and symbolic tensors would stay behind in model.losses.
    with keras.StatelessScope():
        explained = model.forward(images, training=False, sample=False)
        outputs = {"probabilities": ops.softmax(explained["logits"]), "logits": explained["logits"]}
    for name in model.map_names:
        outputs[name] = explained[name]
        if f"{name}_quantized" in explained:
            outputs[f"{name}_quantized"] = explained[f"{name}_quantized"]
    return outputs


def checked_class_names(class_names, num_classes):
    """The names of the classes, a list of strings; without any, their indices.

    Raises:
        ValueError: if they are not one for each class, or not different from each other.
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
    """What an exported file says that it is, in a sentence."""
    return (
        f"{model.name} of aib_keras {__version__}, an image classifier"
        f"{' that tells where it looks' if model.map_names else ''}."
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
