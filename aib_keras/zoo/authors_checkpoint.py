"""Reads checkpoints of the paper's authors' PyTorch release into the zoo's models."""

from aib_keras.zoo import authors_names, imagenet_names
from aib_keras.zoo.torch_checkpoint import load_tensors, read_state

_NAMES = {
    "vgg": authors_names.vgg_names,
    "vgg_att3": authors_names.vgg_att3_names,
    "wrn_abn": authors_names.wrn_abn_names,
    **dict.fromkeys(("vgg_aib", "vgg_aib_qt"), authors_names.vgg_aib_names),
    **dict.fromkeys(("wrn_aib", "wrn_aib_qt"), authors_names.wrn_aib_names),
    **dict.fromkeys(("vgg16_aib", "vgg16_aib_qt"), imagenet_names.authors_vgg16_names),
    **dict.fromkeys(("wrn50_2_aib", "wrn50_2_aib_qt"), imagenet_names.authors_wrn50_names),
}
# What is never in the forward pass: at 32x32 leftovers of the Attention Branch Network that the
# Wide-ResNet was made from, on CUB the ImageNet layers that the model's parts are copies of.
_UNUSED_PREFIXES = {
    **dict.fromkeys(
        ("wrn_aib", "wrn_aib_qt"), ("block3.", "bn1.", "att_block3.", "bn_att", "att_conv")
    ),
    **dict.fromkeys(("wrn50_2_aib", "wrn50_2_aib_qt"), ("layer4.", "tmp_layer.", "att_layer4.")),
}


def load_authors_checkpoint(model, state):
    """Sets the weights of a zoo model to those of a checkpoint by the paper's authors.

    Args:
        model: One of the zoo's models with IB attention, as the zoo makes them; or `zoo.vgg` or
            `vgg_att3` (checkpoints of the Learn to Pay Attention code that the authors build on)
            or `wrn_abn` (of the Attention Branch Network's).
        state: Path of a file that `torch.save` wrote (PyTorch is needed to read it), or a mapping
            from the names of the state_dict to arrays, convolution kernels as OIHW.

    Raises:
        ValueError: if anything does not fit: a tensor that the model needs and the checkpoint
            does not have, one that it has and the model does not, or another shape; all are named.
            The model is then unchanged.
    """
    if model.name not in _NAMES:
        raise ValueError(
            f"The authors have no checkpoint of {model.name!r}: expected one of "
            f"{', '.join(_NAMES)}, as the zoo makes them."
        )
    load_tensors(
        read_state(state),
        _NAMES[model.name](model),
        _UNUSED_PREFIXES.get(model.name, ()),
        f"The checkpoint does not fit {model.name}; is it of this model, with this number of "
        "classes, anchors and latent dimensions?",
    )
