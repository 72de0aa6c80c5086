"""Attention that has to earn its information: IB attention for Keras 3."""

import os as _os

# TensorFlow leaves oneDNN's kernels off on CPUs without AVX-512 VNNI, although models of this
# library train twice as fast with them there. It reads the variable when it is imported.
_os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

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
