"""Export of trained models to files that run without Keras: SavedModel, LiteRT, ONNX."""

from aib_keras.export.litert import to_litert
from aib_keras.export.litert_metadata import read_litert_metadata
from aib_keras.export.onnx import to_onnx
from aib_keras.export.saved_model import to_saved_model
from aib_keras.export.tf_serving import to_serving
from aib_keras.export.verify import ExportError, ExportReport

__all__ = [
    "ExportError",
    "ExportReport",
    "read_litert_metadata",
    "to_litert",
    "to_onnx",
    "to_saved_model",
    "to_serving",
]
