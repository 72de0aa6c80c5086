"""Pooling of features by a softmax over their positions, as the rivals' attention has it."""

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
    scores = layers.Reshape((height * width, 1))(scores)
    # Half precision has too few digits for weights near 1 / (height * width).
    weights = layers.Softmax(axis=1, dtype="float32", name=f"{name}_softmax")(scores)
    pooled = layers.Dot(axes=1)([layers.Reshape((height * width, channels))(features), weights])
    return layers.Reshape((channels,))(pooled), layers.Reshape((height, width, 1))(weights)
