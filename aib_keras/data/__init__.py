"""Where images come from, and how they reach a model."""

from aib_keras.data.batches import AugmentedBatches, CropFlip
from aib_keras.data.folders import folder_digest, load_files
from aib_keras.data.image_data import ImageData
from aib_keras.data.keras_augmentation import KerasAugmentation
from aib_keras.data.loading import load
from aib_keras.data.streamed import StreamedImageData
from aib_keras.data.streamed_batches import StreamedBatches, batches_of, inputs_of
from aib_keras.data.transform import EvaluationTransform
from aib_keras.data.wrong_labels import with_wrong_labels

__all__ = [
    "AugmentedBatches",
    "CropFlip",
    "EvaluationTransform",
    "ImageData",
    "KerasAugmentation",
    "StreamedBatches",
    "StreamedImageData",
    "batches_of",
    "folder_digest",
    "inputs_of",
    "load",
    "load_files",
    "with_wrong_labels",
]
