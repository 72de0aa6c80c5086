"""The WRN-28-10 rows of the paper's tables."""

from keras.layers import Dense, ReLU

from aib_keras.models import AttentionBranchClassifier, PlainClassifier
from aib_keras.models.assembly import AIB_SETTINGS, QUANTIZER_SETTINGS, assemble
from aib_keras.models.attention_branch import attention_branch_backbone
from aib_keras.models.wide_resnet import (
    wrn_attention_head,
    wrn_backbone,
    wrn_features,
    wrn_trunk,
)
from aib_keras.zoo.registry import zoo_model

_WRN = {
    "min_side": 8,
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2023, 0.1994, 0.2010),
    "width": 1.0,
    "dropout": 0.3,
}
_AIB = {**_WRN, **AIB_SETTINGS, "latent_dim": 512}


@zoo_model(**_WRN)
def wrn(num_classes, input_shape, preprocessing, width, dropout):
    """WRN-28-10 (Zagoruyko & Komodakis, 2016), without attention."""
    backbone = wrn_backbone(input_shape, num_classes, width, dropout)
    return PlainClassifier(backbone, preprocessing=preprocessing, name="wrn")


@zoo_model(**_WRN)
def wrn_abn(num_classes, input_shape, preprocessing, width, dropout):
    """Attention Branch Network (Fukui et al., 2019) on WRN-28-10; trains with two losses."""
    backbone = attention_branch_backbone(input_shape, num_classes, width, dropout)
    return AttentionBranchClassifier(backbone, preprocessing=preprocessing, name="wrn_abn")


@zoo_model(**_AIB)
def wrn_aib(**settings):
    """WRN-28-10 with IB attention on its 16x16 features (at 32x32 inputs), not quantised."""
    return _with_attention("wrn_aib", **settings)


@zoo_model(**_AIB, **QUANTIZER_SETTINGS, num_anchors=50)
def wrn_aib_qt(**settings):
    """`wrn_aib` with a quantised map. The paper: 50 anchors on CIFAR-10, 20 on CIFAR-100."""
    return _with_attention("wrn_aib_qt", **settings)


def _with_attention(name, num_classes, input_shape, width, dropout, **settings):
    features = wrn_features(input_shape, width, dropout)
    features_shape = features.output_shape[1:]
    return assemble(
        name,
        features,
        head=wrn_attention_head(features_shape, num_classes, width, dropout),
        trunk=wrn_trunk(features_shape, width, dropout),
        decoder=lambda latent_dim: [ReLU(), Dense(num_classes, name="logits")],
        **settings,
    )
