"""The VGG of the paper's 32x32 tables (Jetley et al., ICLR 2018): plain, DVIB and IB attention."""

import keras
from keras import layers

from aib_keras.models import PlainClassifier, VariationalClassifier
from aib_keras.models.assembly import (
    AIB_SETTINGS,
    BOTTLENECK_SETTINGS,
    QUANTIZER_SETTINGS,
    assemble,
    bottleneck,
)
from aib_keras.zoo.parts import batch_norm, bottleneck_tensor_names, hidden_decoder, scaled
from aib_keras.zoo.registry import zoo_model

# Filters of the convolutions before each pooling. IB attention sits after the first pooling.
STAGES = (
    (64, 64, 128, 128, 256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
    (512,),
    (512,),
)
GLOBAL_FILTERS = 512
# The layer whose output IB attention modulates, and the baselines' counterpart.
FEATURES_LAYER = "block1_pool"
# Settings of every model of the family; `mean` and `std` are those of the authors' training.
SETTINGS = {
    "min_side": 32,
    "mean": (0.5071, 0.4867, 0.4408),
    "std": (0.2675, 0.2565, 0.2761),
    "width": 1.0,
}
_AIB = {**SETTINGS, **AIB_SETTINGS, "latent_dim": 256}


def kernel_initializer():
    """Returns Glorot uniform with gain sqrt(2), as the authors have it."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_avg", distribution="uniform")


def conv(filters, kernel, name, **kwargs):
    """Returns a convolution with the family's initialiser."""
    return layers.Conv2D(
        filters,
        kernel,
        data_format="channels_last",
        kernel_initializer=kernel_initializer(),
        name=name,
        **kwargs,
    )


def stage(x, number, width):
    """Applies stage `number`, from 1, without its pooling: convolutions, batch norms, ReLUs."""
    for index, channels in enumerate(STAGES[number - 1], start=1):
        name = f"block{number}_conv{index}"
        x = conv(scaled(channels, width), 3, name, padding="same")(x)
        x = batch_norm(f"{name}_bn", gamma_initializer=keras.initializers.RandomUniform(0.0, 1.0))(
            x
        )
        x = layers.ReLU()(x)
    return x


def pool(x, number):
    """Applies the pooling after stage `number`."""
    return layers.MaxPooling2D(2, data_format="channels_last", name=f"block{number}_pool")(x)


def stages(x, width, first=1, last=5):
    """Applies the stages from `first` to `last`, each with its pooling."""
    for number in range(first, last + 1):
        x = pool(stage(x, number, width), number)
    return x


def global_conv(x, width):
    """Applies the unpadded convolution over all that is left: `(B, 1, 1, 512 * width)`.

    The side of its kernel is the side of the input over 32, rounded down: 1 at 32 pixels, 2 at 80.
    """
    return conv(scaled(GLOBAL_FILTERS, width), tuple(x.shape[1:3]), "global_conv")(x)


def logits_layer(num_classes):
    """Returns the linear layer to the classes."""
    return layers.Dense(num_classes, kernel_initializer=kernel_initializer(), name="logits")


def _trunk(input_shape, width, first_stage):
    """Stages from `first_stage` on, up to the 512 * width global features: to `(B, D)`."""
    inputs = keras.Input(input_shape)
    x = global_conv(stages(inputs, width, first_stage), width)
    return keras.Model(inputs, layers.Flatten()(layers.ReLU()(x)), name="trunk")


def _names(first_block, counts):
    return [
        f"block{block}_conv{index}"
        for block, count in enumerate(counts, start=first_block)
        for index in range(1, count + 1)
    ]


def _conv_blocks(part, convolutions):
    """`convolutions`: (module, layer) of the convolutions, each followed by its batch norm."""
    for module, layer in convolutions:
        block, index = module.rsplit(".", 1)
        yield module, part.get_layer(layer)
        yield f"{block}.{int(index) + 1}", part.get_layer(f"{layer}_bn")


def backbone_tensor_names(model):
    """Yields pairs of module and layer of Learn to Pay Attention's VGG without attention."""
    modules = [f"conv_block{block}.op.{op}" for block in (1, 2) for op in (0, 3)]
    modules += [f"conv_block{block}.op.{op}" for block in (3, 4, 5) for op in (0, 3, 6)]
    modules += [f"conv_block6.op.{op}" for op in (0, 4)]
    names = _names(1, (7,)) + _names(2, (3, 3, 1, 1))
    yield from _conv_blocks(model.backbone, zip(modules, names, strict=True))
    yield "dense", model.backbone.get_layer("global_conv")
    yield "classify", model.backbone.get_layer("logits")


def _aib_tensor_names(model):
    """Yields pairs of module and layer of the authors' VGG for 32x32 images."""
    modules = [f"features.{block}.op.{op}" for block in (0, 1) for op in (0, 3)]
    modules += [f"features.2.op.{op}" for op in (0, 3, 6)]
    yield from _conv_blocks(model.feature_extractor, zip(modules, _names(1, (7,)), strict=True))

    modules = [f"encode.{block}.op.{op}" for block in (0, 2) for op in (0, 3, 6)]
    modules += [f"encode.4.op.{op}" for op in (0, 4)]
    trunk = model.encoder.trunk
    yield from _conv_blocks(trunk, zip(modules, _names(2, (3, 3, 1, 1)), strict=True))
    yield "encode.5", trunk.get_layer("global_conv")
    yield "encode.8", model.encoder.linear
    yield "att_module_mu.0", model.attention.head
    yield from bottleneck_tensor_names(model, hidden="decode.0", logits="decode.2")


@zoo_model(**SETTINGS, authors_names=backbone_tensor_names)
def vgg(num_classes, input_shape, preprocessing, width):
    """Jetley et al.'s VGG, without attention."""
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(global_conv(stages(inputs, width), width))
    backbone = keras.Model(inputs, logits_layer(num_classes)(x), name="backbone")
    return PlainClassifier(
        backbone, preprocessing=preprocessing, features_layer=FEATURES_LAYER, name="vgg"
    )


@zoo_model(**SETTINGS, **BOTTLENECK_SETTINGS, latent_dim=256)
def vgg_dvib(num_classes, input_shape, preprocessing, width, stochastic, **settings):
    """VGG with a variational information bottleneck (Alemi et al., 2017), without attention."""
    parts = bottleneck(
        trunk=_trunk(input_shape, width, first_stage=1),
        decoder=hidden_decoder(num_classes, kernel_initializer),
        kernel_initializer=kernel_initializer(),
        **settings,
    )
    return VariationalClassifier(
        **parts,
        preprocessing=preprocessing,
        features_layer=FEATURES_LAYER,
        stochastic=stochastic,
        name="vgg_dvib",
    )


@zoo_model(**_AIB, authors_names=_aib_tensor_names)
def vgg_aib(**settings):
    """VGG with IB attention on its 16x16 features (for 32x32 images), not quantised."""
    return _with_attention("vgg_aib", **settings)


@zoo_model(**_AIB, **QUANTIZER_SETTINGS, num_anchors=20, authors_names=_aib_tensor_names)
def vgg_aib_qt(**settings):
    """VGG with quantised IB attention on its 16x16 features (for 32x32 images).

    The paper has 20 anchors on CIFAR-10 and 50 on CIFAR-100.
    """
    return _with_attention("vgg_aib_qt", **settings)


def _with_attention(name, num_classes, input_shape, width, **settings):
    inputs = keras.Input(input_shape)
    features = keras.Model(inputs, stages(inputs, width, last=1), name="feature_extractor")
    return assemble(
        name,
        features,
        trunk=_trunk(features.output_shape[1:], width, first_stage=2),
        decoder=hidden_decoder(num_classes, kernel_initializer),
        kernel_initializer=kernel_initializer(),
        **settings,
    )
