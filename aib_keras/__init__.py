"""Attention that has to earn its information: IB attention for Keras 3."""

from aib_keras import layers, models, zoo

__version__ = "0.1.0"
