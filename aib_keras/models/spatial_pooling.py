"""Pooling of features by a softmax over their positions, as the baselines' attention has it."""

from keras import layers


def softmax_pooling(features, scores, name):
    """Mean of features, weighted by the softmax of one score a position.

    Args:
        features: Symbolic `(B, h, w, C)`.
        scores: Symbolic `(B, h, w, 1)`.
        name: Prefix of the layers' names.

    Returns:
        The weighted mean `(B, C)`, and the weights `(B, h, w, 1)`, whose sum over the positions is
        1, in float32.
    """
    height, width, channels = features.shape[1:]
    scores = layers.Reshape((1, height * width))(scores)
    # In half precision, and in the 8 bits that LiteRT gives the results of a softmax, there are too
    # few digits for weights near 1 / (height * width): float32, and by way of their logarithms.
    weights = layers.Activation("log_softmax", dtype="float32", name=f"{name}_log")(scores)
    weights = layers.Activation("exponential", dtype="float32", name=f"{name}_weights")(weights)
    features = layers.Reshape((height * width, channels))(features)
    pooled = layers.Dot(axes=(1, 2))([features, weights])
    return layers.Reshape((channels,))(pooled), layers.Reshape((height, width, 1))(weights)
