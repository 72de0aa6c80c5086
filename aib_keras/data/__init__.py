"""Where images come from, and how they reach a model."""

from aib_keras.data.batches import AugmentedBatches, CropFlip
from aib_keras.data.image_data import ImageData
from aib_keras.data.loading import load
from aib_keras.data.transform import EvaluationTransform

__all__ = ["AugmentedBatches", "CropFlip", "EvaluationTransform", "ImageData", "load"]
