"""What the models for 224x224 images share: ImageNet's normalisation, and files of weights."""

import os
import pathlib

from aib_keras.models.assembly import AIB_SETTINGS, QUANTIZER_SETTINGS

# Of ImageNet's images scaled to [0, 1]. The weights of torchvision and timm expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Settings of the plain models, of those with IB attention and of those with a quantised map.
SETTINGS = {
    # The features have a sixteenth of the image's side: 3x3, the size after VGG-16's pooling.
    "min_side": 48,
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "num_classes": 200,
    "input_shape": (224, 224, 3),
    "width": 1.0,
    "backbone_weights": None,
}
AIB = {**SETTINGS, **AIB_SETTINGS, "latent_dim": 256}
QUANTIZED = {**AIB, **QUANTIZER_SETTINGS, "num_anchors": 20}


def check_width(width):
    """Raises a ValueError unless a model is wide enough for weights of the full network."""
    if width != 1:
        raise ValueError(
            f"`backbone_weights` are for the full network, and `width` is {width!r}. Leave `width` "
            "at 1, or train a narrow network from new weights: backbone_weights=None."
        )


def existing_path(weights, suffixes, expected):
    """Returns `weights` as the path, a string, of a file that exists.

    Args:
        weights: What the user gave as `backbone_weights`.
        suffixes: The endings that such a file may have.
        expected: What was expected, for the error.

    Raises:
        TypeError: if it is not a path.
        ValueError: if it has another ending, or there is no such file.
    """
    expected = f"{expected} that ends in {' or '.join(suffixes)}"
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(f"`backbone_weights` is {weights!r}: {expected}.")
    path = pathlib.Path(weights).expanduser()
    if path.suffix not in suffixes:
        raise ValueError(f"`backbone_weights` is {str(weights)!r}: {expected}.")
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r} to read `backbone_weights` from.")
    return str(path)
