"""TensorFlow SavedModels, for TensorFlow Serving and for anything else that loads TensorFlow."""

import keras

from aib_keras.export.destination import saved_model_destination, size, staged
from aib_keras.export.serving import (
    INPUT_NAME,
    SIGNATURE,
    check_exportable,
    in_float32,
    input_spec,
    serving_outputs,
)
from aib_keras.export.verify import (
    FLOAT32_LIMITS,
    exact_float32,
    expected_outputs,
    images_to_compare,
    verified_report,
)


def to_saved_model(model, path, overwrite=False):
    """Writes a model as a TensorFlow SavedModel, and checks what was written against the model.

    The SavedModel needs neither Keras nor this library. Its one signature, `serving_default`, has
    the input `images`, uint8 in [0, 255], `(batch, height, width, 3)` with any batch (float32,
    normalised, for a model without preprocessing), and float32 outputs: `probabilities` and
    `logits`, `(batch, classes)`; of a model with a spatial map also `attention`, in (0, 1),
    `(batch, h, w, 1)`, and `attention_quantized` if it has a quantiser. Nothing is sampled and no
    variable is written. It computes in float32, also if the model was trained in mixed precision.

    TensorFlow Serving looks for numbered folders: export to `models/<name>/1`.

    Args:
        model: A built model of `aib_keras.zoo` or `aib_keras.models`.
        path: Folder to write, new or empty.
        overwrite: Boolean, whether to replace a SavedModel at `path`.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if the model is not an image classifier of this library.
        RuntimeError: on another Keras backend than TensorFlow.
        ValueError: if the model is not built, or `path` is a URL.
        FileExistsError: if something is at `path` that may not be replaced.
        ExportError: if what was written disagrees with the model; it is then removed.
    """
    check_exportable(model)
    path = saved_model_destination(path, overwrite)
    model = in_float32(model)
    images = images_to_compare(model, input_spec(model).shape[1:])
    expected = expected_outputs(model, images)
    with staged(path) as folder:
        write(model, folder)
        return verified_report(path, size(folder), expected, run(folder, images), FLOAT32_LIMITS)


def write(model, folder):
    """Writes the SavedModel of a float32 model, unchecked."""
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        SIGNATURE, lambda images: serving_outputs(model, images), [input_spec(model)]
    )
    archive.write_out(str(folder), verbose=False)


def run(folder, images):
    """Outputs of the SavedModel at `folder`, as numpy arrays, from nothing but TensorFlow."""
    import tensorflow as tf

    # The object must outlive its signature, which does not keep its variables.
    loaded = tf.saved_model.load(str(folder))
    with exact_float32():
        outputs = loaded.signatures[SIGNATURE](**{INPUT_NAME: tf.constant(images)})
        return {name: value.numpy() for name, value in outputs.items()}
