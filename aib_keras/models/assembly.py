"""Puts classifiers with a bottleneck together from the settings of a model."""

import keras

from aib_keras.layers import AnchorQuantizer, IBAttention, VariationalEncoder
from aib_keras.models.aib_classifier import AIBClassifier
from aib_keras.utils.checks import check_integer

# Settings of every model with a bottleneck, with IB attention, and with a quantised map on top.
BOTTLENECK_SETTINGS = {"beta": 0.01, "kl_scale": "std", "stochastic": True}
AIB_SETTINGS = {**BOTTLENECK_SETTINGS, "modulation": "residual", "map_beta": 0.0}
QUANTIZER_SETTINGS = {"quantization_weight": 0.4, "commitment_weight": 0.1}


def assemble(
    name,
    feature_extractor,
    trunk,
    decoder,
    preprocessing,
    latent_dim,
    beta,
    kl_scale,
    modulation,
    map_beta,
    stochastic,
    head=None,
    num_anchors=None,
    quantization_weight=None,
    commitment_weight=None,
    kernel_initializer="glorot_uniform",
    attention_initializer=None,
):
    """Builds an `AIBClassifier`, without a quantiser if `num_anchors` is None.

    `decoder` is a function from a `latent_dim` to the decoder's layers. `attention_initializer`
    is that of the attention's convolutions, if it is not `kernel_initializer`. The other arguments
    are the parts, and the settings of the layers that they go to.
    """
    quantizer = None
    if num_anchors is not None:
        quantizer = AnchorQuantizer(
            num_anchors, quantization_weight, commitment_weight, name="quantizer"
        )
    return AIBClassifier(
        feature_extractor=feature_extractor,
        attention=IBAttention(
            head=head,
            quantizer=quantizer,
            modulation=modulation,
            map_beta=map_beta,
            kernel_initializer=attention_initializer or kernel_initializer,
            name="attention",
        ),
        **bottleneck(trunk, decoder, latent_dim, beta, kl_scale, kernel_initializer),
        preprocessing=preprocessing,
        stochastic=stochastic,
        name=name,
    )


def bottleneck(trunk, decoder, latent_dim, beta, kl_scale, kernel_initializer):
    """Builds the encoder and decoder of a `VariationalClassifier`, from arguments of `assemble`."""
    latent_dim = check_integer("latent_dim", latent_dim, minimum=1)
    encoder = VariationalEncoder(
        latent_dim,
        beta=beta,
        kl_scale=kl_scale,
        trunk=trunk,
        kernel_initializer=kernel_initializer,
        name="encoder",
    )
    inputs = keras.Input((latent_dim,))
    return {
        "encoder": encoder,
        "decoder": keras.Sequential([inputs, *decoder(latent_dim)], name="decoder"),
    }
