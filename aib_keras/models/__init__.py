"""Classifiers made of the layers; `aib_keras.zoo` lists the ready ones."""

from aib_keras.models.attach import attach
from aib_keras.models.attention_branch import AttentionBranchClassifier
from aib_keras.models.class_activation import CAMClassifier
from aib_keras.models.classifier import AIBClassifier, VariationalClassifier
from aib_keras.models.image_classifier import (
    ImageClassifier,
    MapClassifier,
    PlainClassifier,
    TrackedModel,
)

__all__ = [
    "AIBClassifier",
    "AttentionBranchClassifier",
    "CAMClassifier",
    "ImageClassifier",
    "MapClassifier",
    "PlainClassifier",
    "TrackedModel",
    "VariationalClassifier",
    "attach",
]
