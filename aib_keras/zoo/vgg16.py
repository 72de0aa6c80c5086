"""VGG-16 for the paper's CUB column (Simonyan & Zisserman, ICLR 2015): plain and IB attention.

Without batch norm and without the last pooling. Images have 224 pixels a side in the paper; any
side S from 48 up works, and the features have S/16.
"""

import keras
import numpy as np
from keras import layers

from aib_keras.models import PlainClassifier
from aib_keras.models.assembly import assemble
from aib_keras.zoo import imagenet
from aib_keras.zoo.parts import bottleneck_tensor_names, he_normal_fan_out, hidden_decoder, scaled
from aib_keras.zoo.registry import zoo_model
from aib_keras.zoo.torch_checkpoint import AfterFlatten

# Filters of the convolutions between poolings. The names of the layers are keras.applications'.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
POOLED_SIDE = 3
_WEIGHTS_SUFFIXES = (".h5",)
# What keras.applications' VGG16 expects: the mean colour in [0, 255] is subtracted from channels
# that are blue, green, red there and red, green, blue here.
_CAFFE_MEAN = (123.68, 116.779, 103.939)


def _convs(x, width):
    for block, filters in enumerate(BLOCKS, start=1):
        for index, channels in enumerate(filters, start=1):
            x = _relu_conv(x, scaled(channels, width), f"block{block}_conv{index}")
        if block < len(BLOCKS):
            x = layers.MaxPooling2D(2, data_format="channels_last", name=f"block{block}_pool")(x)
    return x


def _relu_conv(x, filters, name):
    # Without ImageNet's weights the start is torchvision's. Under Glorot's a signal loses half of
    # its power at every ReLU, and VGG-16 has no batch norm to restore it.
    return layers.Conv2D(
        filters,
        3,
        padding="same",
        activation="relu",
        data_format="channels_last",
        kernel_initializer=he_normal_fan_out(),
        name=name,
    )(x)


def pooled_to_3x3(x):
    """Averages the map down to 3x3 and flattens it: `(B, h, w, C)` to `(B, 9 * C)`."""
    pooling = layers.AdaptiveAveragePooling2D(
        POOLED_SIDE, data_format="channels_last", name="pooling"
    )
    return layers.Flatten(data_format="channels_last", name="flatten")(pooling(x))


def _attention_head(features_shape, width):
    """Three convolutions with ReLU and one more: features to one value per position."""
    inputs = x = keras.Input(features_shape)
    for index in (1, 2, 3):
        x = _relu_conv(x, scaled(512, width), f"hidden_conv{index}")
    x = layers.Conv2D(1, 3, padding="same", data_format="channels_last", name="map_conv")(x)
    return keras.Model(inputs, x, name="head")


def _conv_names():
    """Names of the convolutions, in their order."""
    return [
        f"block{block}_conv{index}"
        for block, filters in enumerate(BLOCKS, start=1)
        for index in range(1, len(filters) + 1)
    ]


def _tensor_names(model):
    """Yields pairs of module and layer of the authors' VGG-16 for CUB."""
    # Each convolution is followed by a ReLU, each block by a pooling.
    index = 0
    for block, filters in enumerate(BLOCKS, start=1):
        for conv in range(1, len(filters) + 1):
            yield f"features.{index}", model.feature_extractor.get_layer(f"block{block}_conv{conv}")
            index += 2
        index += 1
    head = model.attention.head
    if model.quantizer is None:
        yield "att_module_mu.0", head
    else:
        for index in (1, 2, 3):
            yield f"att_module_mu.{2 * index - 2}", head.get_layer(f"hidden_conv{index}")
        yield "att_module_mu.6", head.get_layer("map_conv")
    channels = model.feature_extractor.output.shape[-1]
    map_shape = (POOLED_SIDE, POOLED_SIDE, channels)
    yield "encode.2", AfterFlatten(model.encoder.linear, map_shape)
    yield from bottleneck_tensor_names(model, hidden="decode.0", logits="decode.2")


@zoo_model(**imagenet.SETTINGS)
def vgg16(num_classes, input_shape, preprocessing, width, backbone_weights):
    """VGG-16 without batch norm, without attention.

    It is `vgg16_aib` less the attention and the bottleneck: the 13 convolutions, average pooling
    to 3x3 and one linear layer, not Simonyan & Zisserman's three fully connected ones.

    `backbone_weights` is None, `"imagenet"` (Keras downloads them) or the path of a `.h5` file of
    keras.applications' VGG16 without its top. They are converted to this model's normalisation.
    With `include_preprocessing=False` that is ImageNet's mean and std.
    """
    convs = read_imagenet_weights(backbone_weights, width)
    inputs = keras.Input(input_shape)
    x = layers.Dense(num_classes, name="logits")(pooled_to_3x3(_convs(inputs, width)))
    backbone = keras.Model(inputs, x, name="backbone")
    set_imagenet_weights(backbone, convs, preprocessing)
    return PlainClassifier(
        backbone, preprocessing=preprocessing, features_layer="block5_conv3", name="vgg16"
    )


@zoo_model(**imagenet.AIB, authors_names=_tensor_names)
def vgg16_aib(**settings):
    """VGG-16 with IB attention on its 14x14 features (for 224x224 images), not quantised.

    `backbone_weights` is as for `vgg16`.
    """
    return _with_attention("vgg16_aib", **settings)


@zoo_model(**imagenet.QUANTIZED, authors_names=_tensor_names)
def vgg16_aib_qt(**settings):
    """VGG-16 with quantised IB attention on its 14x14 features (for 224x224 images).

    Its attention has a head of three more convolutions than that of `vgg16_aib`.
    `backbone_weights` is as for `vgg16`.
    """
    return _with_attention("vgg16_aib_qt", **settings)


def _with_attention(name, num_classes, input_shape, width, backbone_weights, **settings):
    convs = read_imagenet_weights(backbone_weights, width)
    inputs = keras.Input(input_shape)
    features = keras.Model(inputs, _convs(inputs, width), name="feature_extractor")
    features_shape = features.output_shape[1:]
    head = _attention_head(features_shape, width) if "num_anchors" in settings else None
    trunk_inputs = keras.Input(features_shape)
    model = assemble(
        name,
        features,
        head=head,
        trunk=keras.Model(trunk_inputs, pooled_to_3x3(trunk_inputs), name="trunk"),
        decoder=hidden_decoder(num_classes),
        **settings,
    )
    set_imagenet_weights(features, convs, settings["preprocessing"])
    return model


def read_imagenet_weights(weights, width):
    """Returns name -> (kernel, bias) of the 13 convolutions of keras.applications' VGG16.

    Args:
        weights: None, `"imagenet"` (Keras downloads them) or the path of a file in the format of
            keras.applications' VGG16 without its top.
        width: The model's setting.

    Returns:
        A dict of arrays, or None for None.

    Raises:
        TypeError: if `weights` is not a path.
        ValueError: if there is no such file, it is not of VGG16, or `width` is not 1.
    """
    if weights is None:
        return None
    imagenet.check_width(width)
    if weights != "imagenet":
        expected = 'expected None, "imagenet", or a file of keras.applications\''
        weights = imagenet.existing_path(weights, _WEIGHTS_SUFFIXES, expected)
    try:
        network = keras.applications.VGG16(include_top=False, weights=weights)
    except (OSError, KeyError, ValueError, IndexError) as error:
        if weights == "imagenet":
            raise
        raise ValueError(
            f"{weights!r} does not hold the weights of keras.applications.VGG16(include_top=False),"
            f" as its save_weights writes them: {error}"
        ) from error
    return {name: network.get_layer(name).get_weights() for name in _conv_names()}


def set_imagenet_weights(features, convs, preprocessing):
    """Sets the convolutions to what `read_imagenet_weights` returned.

    keras.applications' VGG16 takes other images than this model: blue first, in [0, 255], without
    the mean. The difference goes into the first convolution. The features are then the same up to
    the border, where padding with zeros means ImageNet's mean colour there and the mean of the
    preprocessing here: half a grey level apart.

    Args:
        features: The model that holds the convolutions.
        convs: Dict of arrays, or None, which changes nothing.
        preprocessing: The model's `Rescaling` layer. None stands for ImageNet's mean and std.
    """
    if convs is None:
        return
    mean, std = 255 * np.array(imagenet.IMAGENET_MEAN), 255 * np.array(imagenet.IMAGENET_STD)
    if preprocessing is not None:
        std = 1 / np.ravel(preprocessing.scale)
        mean = -np.ravel(preprocessing.offset) * std
    for index, (name, (kernel, bias)) in enumerate(convs.items()):
        if index == 0:
            kernel = kernel[:, :, ::-1].astype("float64")
            bias = bias + np.sum(kernel * (mean - _CAFFE_MEAN)[:, None], axis=(0, 1, 2))
            kernel = kernel * std[:, None]
        features.get_layer(name).set_weights([kernel, bias])
