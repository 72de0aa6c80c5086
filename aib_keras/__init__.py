"""Attention that has to earn its information: IB attention for Keras 3."""

from aib_keras import data, explain, export, layers, metrics, models, plots, training, zoo

__all__ = [
    "data",
    "explain",
    "export",
    "layers",
    "metrics",
    "models",
    "plots",
    "training",
    "zoo",
]

__version__ = "0.1.0"
