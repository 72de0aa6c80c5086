"""The VGG rows of the paper's tables."""

from keras.layers import Dense

from aib_keras.models import CAMClassifier, MapClassifier, PlainClassifier, VariationalClassifier
from aib_keras.models.assembly import (
    AIB_SETTINGS,
    BOTTLENECK_SETTINGS,
    QUANTIZER_SETTINGS,
    assemble,
    bottleneck,
)
from aib_keras.models.class_activation import cam_features
from aib_keras.models.pay_attention import pay_attention_backbone
from aib_keras.models.progressive_attention import progressive_attention_backbone
from aib_keras.models.vgg import (
    kernel_initializer,
    logits_layer,
    vgg_backbone,
    vgg_features,
    vgg_trunk,
)
from aib_keras.zoo.registry import zoo_model

_VGG = {
    "min_side": 32,
    "mean": (0.5071, 0.4867, 0.4408),
    "std": (0.2675, 0.2565, 0.2761),
    "width": 1.0,
}
_AIB = {**_VGG, **AIB_SETTINGS, "latent_dim": 256}


@zoo_model(**_VGG)
def vgg(num_classes, input_shape, preprocessing, width):
    """Jetley et al.'s VGG, without attention."""
    backbone = vgg_backbone(input_shape, num_classes, width)
    return PlainClassifier(backbone, preprocessing=preprocessing, name="vgg")


@zoo_model(**_VGG)
def vgg_gap(num_classes, input_shape, preprocessing, width):
    """VGG with global average pooling of its last convolutional map (8x8 at 32x32 inputs).

    Its map is the class activation map of the predicted class (Zhou et al., 2016). Our reading of
    the paper's row: `vgg` to the end of its third stage, without the poolings and the convolutions
    that stand for fully connected layers.
    """
    return CAMClassifier(
        cam_features(input_shape, width),
        logits_layer(num_classes),
        preprocessing=preprocessing,
        name="vgg_gap",
    )


@zoo_model(**_VGG)
def vgg_pan(num_classes, input_shape, preprocessing, width):
    """VGG with progressive attention (Seo et al., 2018), without a query; its maps are the gates.

    Our reading of the paper's row, for which nobody's code is known.
    """
    backbone = progressive_attention_backbone(input_shape, num_classes, width)
    return MapClassifier(backbone, preprocessing=preprocessing, name="vgg_pan")


@zoo_model(**_VGG, **BOTTLENECK_SETTINGS, latent_dim=256)
def vgg_dvib(num_classes, input_shape, preprocessing, width, stochastic, **settings):
    """VGG with a variational information bottleneck (Alemi et al., 2017), without attention."""
    parts = bottleneck(
        trunk=vgg_trunk(input_shape, width, first_stage=1),
        decoder=_decoder(num_classes),
        kernel_initializer=kernel_initializer(),
        **settings,
    )
    return VariationalClassifier(
        **parts, preprocessing=preprocessing, stochastic=stochastic, name="vgg_dvib"
    )


@zoo_model(**_VGG)
def vgg_att2(num_classes, input_shape, preprocessing, width):
    """VGG with the compatibility attention of Jetley et al. (2018) at 16x16 and 8x8."""
    backbone = pay_attention_backbone(input_shape, num_classes, (2, 3), width)
    return MapClassifier(backbone, preprocessing=preprocessing, name="vgg_att2")


@zoo_model(**_VGG)
def vgg_att3(num_classes, input_shape, preprocessing, width):
    """VGG with the compatibility attention of Jetley et al. (2018) at 32x32, 16x16 and 8x8."""
    backbone = pay_attention_backbone(input_shape, num_classes, (1, 2, 3), width)
    return MapClassifier(backbone, preprocessing=preprocessing, name="vgg_att3")


@zoo_model(**_AIB)
def vgg_aib(**settings):
    """VGG with IB attention on its 16x16 features (at 32x32 inputs), not quantised."""
    return _with_attention("vgg_aib", **settings)


@zoo_model(**_AIB, **QUANTIZER_SETTINGS, num_anchors=20)
def vgg_aib_qt(**settings):
    """`vgg_aib` with a quantised map. The paper: 20 anchors on CIFAR-10, 50 on CIFAR-100."""
    return _with_attention("vgg_aib_qt", **settings)


def _with_attention(name, num_classes, input_shape, width, **settings):
    features = vgg_features(input_shape, width)
    return assemble(
        name,
        features,
        trunk=vgg_trunk(features.output_shape[1:], width),
        decoder=_decoder(num_classes),
        kernel_initializer=kernel_initializer(),
        **settings,
    )


def _decoder(num_classes):
    """Makes the decoder's layers for a `latent_dim`."""
    return lambda latent_dim: [
        Dense(latent_dim, "relu", kernel_initializer=kernel_initializer(), name="hidden"),
        logits_layer(num_classes),
    ]
