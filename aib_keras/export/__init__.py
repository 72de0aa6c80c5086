"""Trained models as files that run without Keras: TensorFlow SavedModel and LiteRT."""

from aib_keras.export.litert import to_litert
from aib_keras.export.saved_model import to_saved_model
from aib_keras.export.verify import ExportError, ExportReport

__all__ = ["ExportError", "ExportReport", "to_litert", "to_saved_model"]
