"""Classifiers made of the layers; `aib_keras.zoo` lists the ready ones."""

from aib_keras.models.classifier import (
    AIBClassifier,
    ImageClassifier,
    PlainClassifier,
    TrackedModel,
)

__all__ = ["AIBClassifier", "ImageClassifier", "PlainClassifier", "TrackedModel"]
