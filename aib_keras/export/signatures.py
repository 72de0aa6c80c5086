"""The signatures of a SavedModel: the functions that a client can ask a server to run."""

from aib_keras.export.image_bytes import decode_batch
from aib_keras.export.outputs import INPUT_NAME, SIGNATURE, exported_outputs, input_spec

BYTES_SIGNATURE = "classify_bytes"
EXPLAIN_SIGNATURE = "explain"
BYTES_NAME = "image_bytes"
# Even a small file becomes an image, and the model's activations for it need memory.
MAX_FILES = 128


def signatures(model, class_names, input_dtype, transform):
    """Returns the signatures of a float32 model.

    Args:
        model: Built `ImageClassifier`.
        class_names: List of strings, one for each class.
        input_dtype: Dtype of the images, `"uint8"` or `"float32"`.
        transform: `aib_keras.data.EvaluationTransform` for image files.

    Returns:
        A dict from names to pairs of a function and the specification of its input.
    """
    import tensorflow as tf

    images = input_spec(model, input_dtype)
    size = images.shape[1:3].as_list()
    # One function, so that the signatures share one graph of the model.
    outputs = tf.function(lambda images: exported_outputs(model, images))
    found = {SIGNATURE: (lambda images: outputs(_checked(images)), images)}
    if takes_files(model):
        found[BYTES_SIGNATURE] = (
            lambda contents: _classify_bytes(outputs, class_names, transform, contents),
            tf.TensorSpec((None,), tf.string, name=BYTES_NAME),
        )
    if model.map_names:
        found[EXPLAIN_SIGNATURE] = (
            lambda images: _explain(outputs(_checked(images)), class_names, size),
            images,
        )
    return found


def takes_files(model):
    """Returns whether image files can be made into what a model takes: colours in [0, 255]."""
    return model.preprocessing is not None and input_spec(model).shape[-1] == 3


def _checked(images):
    """Returns the images. TensorFlow fails the whole request if one has NaN or infinity."""
    import tensorflow as tf

    if images.dtype.is_floating:
        return tf.debugging.check_numerics(images, f"`{INPUT_NAME}` must be finite")
    return images


def _classify_bytes(model, class_names, transform, contents):
    import tensorflow as tf

    count = tf.size(contents)
    enough = tf.debugging.Assert(
        count <= MAX_FILES,
        [f"At most {MAX_FILES} files can be in a request: send several requests. Files:", count],
    )
    with tf.control_dependencies([enough]):
        contents = tf.identity(contents)
    images, problems = decode_batch(contents, transform)
    is_good = problems == ""

    def of_good(values):
        shape = tf.concat([[count], tf.ones(tf.rank(values) - 1, tf.int32)], 0)
        return tf.where(tf.reshape(is_good, shape), values, tf.zeros((), values.dtype))

    outputs = {name: of_good(values) for name, values in model(images).items() if name != "logits"}
    named = _named(outputs["probabilities"], class_names)
    predicted = tf.where(is_good, named["predicted_class"], "")
    outputs = {**outputs, **named, "predicted_class": predicted, "error": problems}
    if "attention" in outputs:
        outputs["attention_box"] = tf.tile([transform.box], (count, 1))
    return outputs


def _explain(outputs, class_names, size):
    import tensorflow as tf

    found = {"probabilities": outputs["probabilities"]}
    for name, values in outputs.items():
        if name not in ("probabilities", "logits"):
            # A quantised map has no values between its anchors, so it must not be interpolated.
            method = "nearest" if name.endswith("_quantized") else "bilinear"
            found[name] = tf.image.resize(values, size, method)
    return {**found, **_named(outputs["probabilities"], class_names)}


def _named(probabilities, class_names):
    """Returns the names of the classes, with a row per image for TensorFlow Serving's batching."""
    import tensorflow as tf

    names = tf.constant(class_names)
    return {
        "predicted_class": tf.gather(names, tf.argmax(probabilities, axis=-1)),
        "class_names": tf.tile(names[None], (tf.shape(probabilities)[0], 1)),
    }
