"""Every model of the paper's tables, one function each."""

from aib_keras.zoo.attention_branch import wrn_abn
from aib_keras.zoo.authors_checkpoint import load_authors_checkpoint
from aib_keras.zoo.class_activation import vgg_gap
from aib_keras.zoo.efficientnet_lite0 import (
    efficientnet_lite0,
    efficientnet_lite0_aib,
    efficientnet_lite0_aib_qt,
)
from aib_keras.zoo.pay_attention import vgg_att2, vgg_att3
from aib_keras.zoo.pretrained import decode_predictions, weights
from aib_keras.zoo.progressive_attention import vgg_pan
from aib_keras.zoo.registry import create, get, list_models
from aib_keras.zoo.vgg import vgg, vgg_aib, vgg_aib_qt, vgg_dvib
from aib_keras.zoo.vgg16 import vgg16, vgg16_aib, vgg16_aib_qt
from aib_keras.zoo.wide_resnet import wrn, wrn_aib, wrn_aib_qt
from aib_keras.zoo.wide_resnet50 import wrn50_2, wrn50_2_aib, wrn50_2_aib_qt

__all__ = [
    "create",
    "decode_predictions",
    "efficientnet_lite0",
    "efficientnet_lite0_aib",
    "efficientnet_lite0_aib_qt",
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
    "weights",
    "wrn",
    "wrn50_2",
    "wrn50_2_aib",
    "wrn50_2_aib_qt",
    "wrn_abn",
    "wrn_aib",
    "wrn_aib_qt",
]
