"""The models of the paper's CUB column, for images of 224x224."""

from keras.layers import Dense

from aib_keras.models import PlainClassifier
from aib_keras.models.assembly import AIB_SETTINGS, QUANTIZER_SETTINGS, assemble
from aib_keras.models.imagenet import (
    vgg16_attention_head,
    vgg16_backbone,
    vgg16_features,
    vgg16_trunk,
    wrn50_attention_head,
    wrn50_backbone,
    wrn50_features,
    wrn50_trunk,
)
from aib_keras.zoo.backbone_weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    read_vgg16_weights,
    read_wrn50_weights,
    set_vgg16_weights,
    set_wrn50_weights,
)
from aib_keras.zoo.registry import zoo_model

_IMAGENET = {
    # The features are a sixteenth of it: 3x3, which is what VGG-16's pooling gives.
    "min_side": 48,
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "num_classes": 200,
    "input_shape": (224, 224, 3),
    "width": 1.0,
    "backbone_weights": None,
}
_AIB = {**_IMAGENET, **AIB_SETTINGS, "latent_dim": 256}
_QUANTIZED = {**_AIB, **QUANTIZER_SETTINGS, "num_anchors": 20}


@zoo_model(**_IMAGENET)
def vgg16(num_classes, input_shape, preprocessing, width, backbone_weights):
    """VGG-16 without batch norm, without attention.

    It is `vgg16_aib` less the attention and the bottleneck: the 13 convolutions, average pooling
    to 3x3 and one linear layer, not Simonyan & Zisserman's three fully connected ones.

    `backbone_weights`: None, `"imagenet"` (Keras downloads them) or the path of a `.h5` file of
    keras.applications' VGG16 without its top. They are put right for this model's normalisation;
    with `include_preprocessing=False` that is ImageNet's mean and std.
    """
    convs = read_vgg16_weights(backbone_weights, width)
    backbone = vgg16_backbone(input_shape, num_classes, width)
    set_vgg16_weights(backbone, convs, preprocessing)
    return PlainClassifier(backbone, preprocessing=preprocessing, name="vgg16")


@zoo_model(**_AIB)
def vgg16_aib(**settings):
    """VGG-16 with IB attention on its 14x14 features (at 224x224 inputs), not quantised.

    `backbone_weights` as for `vgg16`.
    """
    return _vgg16_with_attention("vgg16_aib", **settings)


@zoo_model(**_QUANTIZED)
def vgg16_aib_qt(**settings):
    """`vgg16_aib` with a quantised map and three more convolutions in the attention's head.

    `backbone_weights` as for `vgg16`.
    """
    return _vgg16_with_attention("vgg16_aib_qt", **settings)


@zoo_model(**_IMAGENET)
def wrn50_2(num_classes, input_shape, preprocessing, width, backbone_weights):
    """Wide-ResNet-50-2 (Zagoruyko & Komodakis, 2016) as torchvision has it, without attention.

    `backbone_weights`: None, or the path of a checkpoint of torchvision's or timm's
    `wide_resnet50_2` (`.safetensors`, `.pth`, `.pt`), whose `fc` is ignored. They expect images
    that are normalised with ImageNet's mean and std, the defaults.
    """
    state = read_wrn50_weights(backbone_weights, width)
    backbone = wrn50_backbone(input_shape, num_classes, width)
    set_wrn50_weights(backbone, backbone, state)
    return PlainClassifier(backbone, preprocessing=preprocessing, name="wrn50_2")


@zoo_model(**_AIB)
def wrn50_2_aib(**settings):
    """Wide-ResNet-50-2 with IB attention on its 14x14 features (at 224x224 inputs), not quantised.

    `backbone_weights` as for `wrn50_2`; the attention's own fourth layer starts new.
    """
    return _wrn50_with_attention("wrn50_2_aib", **settings)


@zoo_model(**_QUANTIZED)
def wrn50_2_aib_qt(**settings):
    """`wrn50_2_aib` with a quantised map.

    `backbone_weights` as for `wrn50_2`; the attention's own fourth layer starts new.
    """
    return _wrn50_with_attention("wrn50_2_aib_qt", **settings)


def _vgg16_with_attention(name, num_classes, input_shape, width, backbone_weights, **settings):
    convs = read_vgg16_weights(backbone_weights, width)
    features = vgg16_features(input_shape, width)
    features_shape = features.output_shape[1:]
    quantized = "num_anchors" in settings
    model = assemble(
        name,
        features,
        head=vgg16_attention_head(features_shape, width) if quantized else None,
        trunk=vgg16_trunk(features_shape),
        decoder=lambda latent_dim: _decoder(latent_dim, num_classes),
        **settings,
    )
    set_vgg16_weights(features, convs, settings["preprocessing"])
    return model


def _wrn50_with_attention(name, num_classes, input_shape, width, backbone_weights, **settings):
    state = read_wrn50_weights(backbone_weights, width)
    features = wrn50_features(input_shape, width)
    features_shape = features.output_shape[1:]
    trunk = wrn50_trunk(features_shape, width)
    model = assemble(
        name,
        features,
        head=wrn50_attention_head(features_shape, width),
        trunk=trunk,
        decoder=lambda latent_dim: _decoder(latent_dim, num_classes),
        **settings,
    )
    set_wrn50_weights(features, trunk, state)
    return model


def _decoder(latent_dim, num_classes):
    return [Dense(latent_dim, "relu", name="hidden"), Dense(num_classes, name="logits")]
