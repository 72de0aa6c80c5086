"""The VGG rows of the paper's tables."""

from keras.layers import Dense

from aib_keras.models import PlainClassifier
from aib_keras.models.assembly import AIB_SETTINGS, QUANTIZER_SETTINGS, assemble
from aib_keras.models.vgg import kernel_initializer, vgg_backbone, vgg_features, vgg_trunk
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
        decoder=lambda latent_dim: [
            Dense(latent_dim, "relu", kernel_initializer=kernel_initializer(), name="hidden"),
            Dense(num_classes, kernel_initializer=kernel_initializer(), name="logits"),
        ],
        kernel_initializer=kernel_initializer(),
        **settings,
    )
