"""Every model of the paper's tables, one function each."""

from aib_keras.zoo.authors_checkpoint import load_authors_checkpoint
from aib_keras.zoo.imagenet_models import (
    vgg16,
    vgg16_aib,
    vgg16_aib_qt,
    wrn50_2,
    wrn50_2_aib,
    wrn50_2_aib_qt,
)
from aib_keras.zoo.registry import get, list_models
from aib_keras.zoo.vgg_models import (
    vgg,
    vgg_aib,
    vgg_aib_qt,
    vgg_att2,
    vgg_att3,
    vgg_dvib,
    vgg_gap,
    vgg_pan,
)
from aib_keras.zoo.wrn_models import wrn, wrn_abn, wrn_aib, wrn_aib_qt

__all__ = [
    "get",
    "list_models",
    "load_authors_checkpoint",
    "vgg",
    "vgg16",
    "vgg16_aib",
    "vgg16_aib_qt",
    "vgg_aib",
    "vgg_aib_qt",
    "vgg_att2",
    "vgg_att3",
    "vgg_dvib",
    "vgg_gap",
    "vgg_pan",
    "wrn",
    "wrn50_2",
    "wrn50_2_aib",
    "wrn50_2_aib_qt",
    "wrn_abn",
    "wrn_aib",
    "wrn_aib_qt",
]
