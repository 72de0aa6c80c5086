"""The signatures of a SavedModel: what a client can ask a server for."""

from aib_keras.export.image_bytes import decode_batch, resized_size
from aib_keras.export.serving import INPUT_NAME, SIGNATURE, input_spec, serving_outputs

BYTES_SIGNATURE = "classify_bytes"
EXPLAIN_SIGNATURE = "explain"
BYTES_NAME = "image_bytes"
# Whatever its size is in bytes, a file becomes an image with all its activations.
MAX_FILES = 128


def signatures(model, class_names, input_dtype, resize_ratio):
    """The signatures of a float32 model: a dict of name to (function, specification of its input).

    Args:
        model: Built `ImageClassifier`.
        class_names: List of strings, one for each class.
        input_dtype: Of the images, `"uint8"` or `"float32"`.
        resize_ratio: Number, as in `decode_batch`.
    """
    import tensorflow as tf

    images = input_spec(model, input_dtype)
    size = images.shape[1:3].as_list()
    # One function, so that the signatures share one graph of the model.
    outputs = tf.function(lambda images: serving_outputs(model, images))
    found = {SIGNATURE: (lambda images: outputs(_checked(images)), images)}
    if model.preprocessing is not None:
        found[BYTES_SIGNATURE] = (
            lambda contents: _classify_bytes(outputs, class_names, size, resize_ratio, contents),
            tf.TensorSpec((None,), tf.string, name=BYTES_NAME),
        )
    if model.map_names:
        found[EXPLAIN_SIGNATURE] = (
            lambda images: _explain(outputs(_checked(images)), class_names, size),
            images,
        )
    return found


def _checked(images):
    """The images; an error of TensorFlow's for the whole request if one has NaN or infinity."""
    import tensorflow as tf

    if images.dtype.is_floating:
        return tf.debugging.check_numerics(images, f"`{INPUT_NAME}` must be finite")
    return images


def _classify_bytes(model, class_names, size, resize_ratio, contents):
    import tensorflow as tf

    count = tf.size(contents)
    enough = tf.debugging.Assert(
        count <= MAX_FILES,
        [f"At most {MAX_FILES} files can be in a request. Send several requests. Files:", count],
    )
    with tf.control_dependencies([enough]):
        contents = tf.identity(contents)
    images, problems = decode_batch(contents, size, resize_ratio)
    is_good = problems == ""

    def of_good(values):
        shape = tf.concat([[count], tf.ones(tf.rank(values) - 1, tf.int32)], 0)
        return tf.where(tf.reshape(is_good, shape), values, tf.zeros((), values.dtype))

    outputs = {name: of_good(values) for name, values in model(images).items() if name != "logits"}
    named = _named(outputs["probabilities"], class_names)
    predicted = tf.where(is_good, named["predicted_class"], "")
    outputs = {**outputs, **named, "predicted_class": predicted, "error": problems}
    if "attention" in outputs:
        outputs["attention_box"] = tf.tile([_seen_box(size, resize_ratio)], (count, 1))
    return outputs


def _seen_box(size, resize_ratio):
    """The part of an image file that the model sees: y0, x0, y1, x1 in shares of its sides."""
    larger = resized_size(size, resize_ratio)
    starts = [(whole - part) // 2 for whole, part in zip(larger, size, strict=True)]
    ends = [start + part for start, part in zip(starts, size, strict=True)]
    return [
        edge / whole for edges in (starts, ends) for edge, whole in zip(edges, larger, strict=True)
    ]


def _explain(outputs, class_names, size):
    import tensorflow as tf

    found = {"probabilities": outputs["probabilities"]}
    for name, values in outputs.items():
        if name not in ("probabilities", "logits"):
            # In between its anchors a quantised map has no values.
            method = "nearest" if name.endswith("_quantized") else "bilinear"
            found[name] = tf.image.resize(values, size, method)
    return {**found, **_named(outputs["probabilities"], class_names)}


def _named(probabilities, class_names):
    """What to call the probabilities: a row an image, as TensorFlow Serving's batching wants it."""
    import tensorflow as tf

    names = tf.constant(class_names)
    return {
        "predicted_class": tf.gather(names, tf.argmax(probabilities, axis=-1)),
        "class_names": tf.tile(names[None], (tf.shape(probabilities)[0], 1)),
    }
