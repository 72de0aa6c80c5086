"""Conversion of a model to a LiteRT file that computes with 8-bit integers from end to end."""

import numpy as np

from aib_keras.export.outputs import INPUT_NAME
from aib_keras.export.verify import ExportError

_PIXEL_SCALE = (1.0, 0)


def set_up(converter, model, representative_images):
    """Sets a converter up to use 8-bit integers for a whole graph.

    Args:
        converter: A `tf.lite.TFLiteConverter` of a graph that takes images as floats.
        model: Built `ImageClassifier`.
        representative_images: Array `(N, height, width, 3)` as the model takes it.
    """
    import tensorflow as tf

    converter.inference_input_type = converter.inference_output_type = tf.uint8
    if model.preprocessing is not None:
        representative_images = _reaching_the_ends(representative_images)
    converter.representative_dataset = lambda: (
        {INPUT_NAME: image[None].astype("float32")} for image in representative_images
    )


def _reaching_the_ends(images):
    """Returns uint8 images in which 0 and 255 occur, by changing a value in a corner if needed.

    The converter divides the range of the images that it sees into 256 steps. For the range from 0
    to 255 a step is one level of a pixel; for any other range the caller would have to rescale the
    pixels. The ranges of the activations are measured on the same images. A value in a corner
    hardly affects them, but a whole black or white image would.
    """
    images = images.copy()
    if images.min() > 0:
        images[0, 0, 0, 0] = 0
    if images.max() < 255:
        images[-1, -1, -1, -1] = 255
    return images


def check(model, interpreter):
    """Raises an ExportError unless all tensors of an interpreter without delegates are integers."""
    kept = {
        tensor["name"].split("/")[-1]
        for tensor in interpreter.get_tensor_details()
        if np.issubdtype(tensor["dtype"], np.floating)
    }
    if kept:
        raise ExportError(
            f"LiteRT's converter cannot use integers for all of {model.name}: it left "
            f"{', '.join(sorted(kept))} in floats. Export it with quantize='dynamic' or 'float16'."
        )
    (images,) = interpreter.get_input_details()
    if model.preprocessing is not None and images["quantization"] != _PIXEL_SCALE:
        raise ExportError(
            f"LiteRT's converter chose {images['quantization']} as scale and zero point of the "
            f"images of {model.name}, but pixels need {_PIXEL_SCALE}. Export it with "
            "quantize='dynamic' or 'float16'."
        )
