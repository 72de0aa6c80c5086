"""ImageNet weights, made by others, for the backbones of the 224x224 models."""

import os
import pathlib

import keras
import numpy as np

from aib_keras.zoo.imagenet_names import torchvision_wrn50_names, vgg16_conv_names
from aib_keras.zoo.torch_checkpoint import load_tensors, read_state

# Of ImageNet's images, scaled to [0, 1]: what torchvision's and timm's weights expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# What keras.applications' VGG16 expects: subtracted from channels in [0, 255], which are blue,
# green, red there and red, green, blue here.
_CAFFE_MEAN = (123.68, 116.779, 103.939)

_VGG16_SUFFIXES = (".h5",)
_WRN50_SUFFIXES = (".safetensors", ".pth", ".pt")


def read_vgg16_weights(weights, width):
    """Name -> (kernel, bias) of the 13 convolutions of keras.applications' VGG16.

    Args:
        weights: None, `"imagenet"` (Keras downloads them) or a path of a file in the format of
            keras.applications' VGG16 without its top.
        width: The model's setting.

    Returns:
        A dict of arrays, or None for None.

    Raises:
        TypeError: if `weights` is no path.
        ValueError: if there is no such file, it is not of VGG16, or `width` is not 1.
    """
    if weights is None:
        return None
    _check_width(width)
    if weights != "imagenet":
        weights = _existing_path(
            weights, _VGG16_SUFFIXES, 'expected None, "imagenet", or a file of keras.applications\''
        )
    try:
        vgg16 = keras.applications.VGG16(include_top=False, weights=weights)
    except (OSError, KeyError, ValueError, IndexError) as error:
        if weights == "imagenet":
            raise
        raise ValueError(
            f"{weights!r} does not hold the weights of keras.applications.VGG16(include_top=False),"
            f" as its save_weights writes them: {error}"
        ) from error
    return {name: vgg16.get_layer(name).get_weights() for name in vgg16_conv_names()}


def set_vgg16_weights(features, convs, preprocessing):
    """Puts what `read_vgg16_weights` gave into the layers of `vgg16_features`.

    keras.applications' VGG16 wants other images than ours (blue first, in [0, 255] without the
    mean), so the difference goes into the first convolution. Its features are then the same up to
    the border, where padding with zeros means the mean colour of ImageNet there and the mean of
    the preprocessing here: half a grey level apart.

    Args:
        features: The model that holds the convolutions.
        convs: Dict of arrays, or None: nothing is done then.
        preprocessing: The model's `Rescaling` layer; None stands for ImageNet's mean and std.
    """
    if convs is None:
        return
    mean, std = 255 * np.array(IMAGENET_MEAN), 255 * np.array(IMAGENET_STD)
    if preprocessing is not None:
        std = 1 / np.ravel(preprocessing.scale)
        mean = -np.ravel(preprocessing.offset) * std
    for index, (name, (kernel, bias)) in enumerate(convs.items()):
        if index == 0:
            kernel = kernel[:, :, ::-1].astype("float64")
            bias = bias + np.sum(kernel * (mean - _CAFFE_MEAN)[:, None], axis=(0, 1, 2))
            kernel = kernel * std[:, None]
        features.get_layer(name).set_weights([kernel, bias])


def read_wrn50_weights(weights, width):
    """The state_dict of torchvision's or timm's Wide-ResNet-50-2.

    Args:
        weights: None, or the path of a `.safetensors`, `.pth` or `.pt` file.
        width: The model's setting.

    Returns:
        A dict from names to arrays, or None for None.

    Raises:
        TypeError: if `weights` is no path.
        ValueError: if there is no such file, it is not readable, or `width` is not 1.
        ImportError: without the package that reads it: safetensors, or torch.
    """
    if weights is None:
        return None
    _check_width(width)
    return read_state(
        _existing_path(weights, _WRN50_SUFFIXES, "expected None, or torchvision's or timm's file")
    )


def set_wrn50_weights(features, layer4, state):
    """Puts what `read_wrn50_weights` gave into our layers; nothing is done for None.

    Args:
        features: The model that holds the stem and layers 1 to 3.
        layer4: The model that holds the fourth layer; for a whole network the same one.
        state: Dict of arrays. Its `fc.*` is ignored.

    Raises:
        ValueError: if tensors are missing, superfluous or of another shape; all are named, and
            the models are unchanged.
    """
    if state is None:
        return
    load_tensors(
        state,
        torchvision_wrn50_names(features, layer4),
        ("fc.",),
        "`backbone_weights` are not those of torchvision's wide_resnet50_2 or of timm's.",
    )


def _check_width(width):
    if width != 1:
        raise ValueError(
            f"`backbone_weights` are for the full network, and `width` is {width!r}. Leave `width` "
            "at 1, or train a narrow network from new weights: backbone_weights=None."
        )


def _existing_path(weights, suffixes, expected):
    expected = f"{expected} that ends in {' or '.join(suffixes)}"
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(f"`backbone_weights` is {weights!r}: {expected}.")
    path = pathlib.Path(weights)
    if path.suffix not in suffixes:
        raise ValueError(f"`backbone_weights` is {str(weights)!r}: {expected}.")
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r} to read `backbone_weights` from.")
    return str(path)
