"""A model as a graph that LiteRT's converter can make of 8-bit integers from end to end."""

import numpy as np

from aib_keras.export.serving import INPUT_NAME
from aib_keras.export.verify import ExportError

_PIXEL_SCALE = (1.0, 0)


def set_up(converter, model, representative_images):
    """Has the converter make integers of all of a graph, which takes the images as floats."""
    import tensorflow as tf

    converter.inference_input_type = converter.inference_output_type = tf.uint8
    if model.preprocessing is not None:
        representative_images = _reaching_the_ends(representative_images)
    converter.representative_dataset = lambda: (
        {INPUT_NAME: image[None].astype("float32")} for image in representative_images
    )


def _reaching_the_ends(images):
    """Uint8 images as they are, if 0 and 255 occur in them; else with one value of a corner changed
    to each.

    The input has 256 steps over the range that it is seen in. With these ends a step is a pixel's;
    with any others the caller would have to rescale pixels. The ranges of the layers' activations,
    which are measured on the same images, hardly see a corner, and nothing of a whole black or
    white image.
    """
    images = images.copy()
    if images.min() > 0:
        images[0, 0, 0, 0] = 0
    if images.max() < 255:
        images[-1, -1, -1, -1] = 255
    return images


def check(model, interpreter):
    """Raises an ExportError unless all that an interpreter without delegates has is integers."""
    kept = {
        tensor["name"].split("/")[-1]
        for tensor in interpreter.get_tensor_details()
        if np.issubdtype(tensor["dtype"], np.floating)
    }
    if kept:
        raise ExportError(
            f"LiteRT's converter cannot make integers of all of {model.name}; it left "
            f"{', '.join(sorted(kept))} in floats. Export it with quantize='dynamic' or 'float16'."
        )
    (images,) = interpreter.get_input_details()
    if model.preprocessing is not None and images["quantization"] != _PIXEL_SCALE:
        raise ExportError(
            f"LiteRT's converter gave the images of {model.name} scale and zero point "
            f"{images['quantization']} and not {_PIXEL_SCALE}, a pixel's. Export it with "
            "quantize='dynamic' or 'float16'."
        )
