"""Layers that work alone in any Keras model."""

from aib_keras.layers.attention import IBAttention
from aib_keras.layers.normalization import BatchNormalization
from aib_keras.layers.quantizer import AnchorQuantizer
from aib_keras.layers.sampling import Dropout, GaussianSampler
from aib_keras.layers.variational import VariationalEncoder

__all__ = [
    "AnchorQuantizer",
    "BatchNormalization",
    "Dropout",
    "GaussianSampler",
    "IBAttention",
    "VariationalEncoder",
]
