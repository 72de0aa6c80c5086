"""Classifiers made of the layers. `aib_keras.zoo` lists the ready-made ones."""

from aib_keras.models.aib_classifier import AIBClassifier
from aib_keras.models.attach import attach
from aib_keras.models.attention_branch_classifier import AttentionBranchClassifier
from aib_keras.models.backbone_classifiers import MapClassifier, PlainClassifier
from aib_keras.models.cam_classifier import CAMClassifier
from aib_keras.models.copy_weights import copy_weights
from aib_keras.models.image_classifier import ImageClassifier, TrackedModel
from aib_keras.models.variational_classifier import VariationalClassifier

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
    "copy_weights",
]
