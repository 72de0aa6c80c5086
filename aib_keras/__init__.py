"""Attention that has to earn its information: IB attention for Keras 3."""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    from aib_keras.utils.optional import missing_backend

    raise missing_backend(error) from None

from aib_keras import data, explain, export, layers, metrics, models, plots, training, zoo
from aib_keras.version import __version__ as __version__

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
