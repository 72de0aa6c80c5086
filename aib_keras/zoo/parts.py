"""What the networks of several families are built from."""

import keras
from keras import layers

from aib_keras.layers import BatchNormalization


def scaled(channels, width):
    """Returns `channels` times `width`, rounded, at least 1."""
    return max(1, round(channels * width))


def batch_norm(name, **kwargs):
    """Returns a batch norm with PyTorch's defaults, which all of the authors' networks have."""
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, **kwargs)


def he_normal_fan_out():
    """Returns N(0, 2 / (k * k * out)), the initialiser of the Wide-ResNets' convolutions."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def residual_conv(filters, kernel, name, stride=1):
    """Returns a convolution of a residual network, without bias.

    A strided one has no padding of its own. "same" would pad a stride of 2 on one side, whereas
    PyTorch pads both, so these networks pad by hand.
    """
    return layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        data_format="channels_last",
        kernel_initializer=he_normal_fan_out(),
        name=name,
    )


def global_pooling(name=None):
    """Returns global average pooling of a map `(B, h, w, C)` to `(B, C)`."""
    return layers.GlobalAveragePooling2D(data_format="channels_last", name=name)


def softmax_pooling(features, scores, name):
    """Averages features, weighted by the softmax of one score per position.

    Args:
        features: Symbolic `(B, h, w, C)`.
        scores: Symbolic `(B, h, w, 1)`.
        name: Prefix of the layers' names.

    Returns:
        A tuple of the weighted mean `(B, C)` and the weights `(B, h, w, 1)` in float32, which sum
        to 1 over the positions.
    """
    height, width, channels = features.shape[1:]
    scores = layers.Reshape((1, height * width))(scores)
    # In half precision, and in the 8 bits that LiteRT has for the results of a softmax, there are
    # too few digits for weights near 1 / (height * width): float32, by way of their logarithms.
    weights = layers.Activation("log_softmax", dtype="float32", name=f"{name}_log")(scores)
    weights = layers.Activation("exponential", dtype="float32", name=f"{name}_weights")(weights)
    features = layers.Reshape((height * width, channels))(features)
    pooled = layers.Dot(axes=(1, 2))([features, weights])
    weights = layers.Reshape((height, width, 1), dtype="float32")(weights)
    return layers.Reshape((channels,))(pooled), weights


def hidden_decoder(num_classes, make_initializer=keras.initializers.GlorotUniform):
    """Returns a function from `latent_dim` to a decoder's layers: linear, ReLU, linear.

    Args:
        num_classes: Integer.
        make_initializer: Function that returns a new kernel initialiser for each layer.
    """

    def decoder(latent_dim):
        return [
            layers.Dense(latent_dim, "relu", kernel_initializer=make_initializer(), name="hidden"),
            layers.Dense(num_classes, kernel_initializer=make_initializer(), name="logits"),
        ]

    return decoder


def bottleneck_tensor_names(model, hidden, logits):
    """Yields pairs of module and layer that all of the authors' models with attention share.

    Args:
        model: `AIBClassifier`.
        hidden: Name of the decoder's hidden module in the checkpoint, or None if it has none.
        logits: Name of the decoder's last module.
    """
    yield "att_module_std.0", model.attention.std_conv
    if model.quantizer is not None:
        yield "emb", model.quantizer
    if hidden is not None:
        yield hidden, model.decoder.get_layer("hidden")
    yield logits, model.decoder.get_layer("logits")
