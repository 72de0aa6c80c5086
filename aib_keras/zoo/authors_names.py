"""Which module of the authors' 32x32 PyTorch models is which layer of ours."""

from aib_keras.models.wide_resnet import BLOCKS_PER_GROUP


def vgg_att3_names(model):
    """Pairs of module and layer of Learn to Pay Attention's VGG."""
    yield from vgg_names(model)
    yield "projector.op", model.backbone.get_layer("projector1")
    for index in (1, 2, 3):
        yield f"attn{index}.op", model.backbone.get_layer(f"compatibility{index}")


def _shared_names(model, hidden, logits):
    yield "att_module_std.0", model.attention.std_conv
    if model.attention.quantizer is not None:
        yield "emb", model.attention.quantizer
    if hidden is not None:
        yield hidden, model.decoder.get_layer("hidden")
    yield logits, model.decoder.get_layer("logits")


def _conv_blocks(part, convolutions):
    """`convolutions`: (module, layer) of the convolutions, each followed by its batch norm."""
    for module, layer in convolutions:
        block, index = module.rsplit(".", 1)
        yield module, part.get_layer(layer)
        yield f"{block}.{int(index) + 1}", part.get_layer(f"{layer}_bn")


def vgg_names(model):
    """Pairs of module and layer of Learn to Pay Attention's VGG without attention."""
    modules = [f"conv_block{block}.op.{op}" for block in (1, 2) for op in (0, 3)]
    modules += [f"conv_block{block}.op.{op}" for block in (3, 4, 5) for op in (0, 3, 6)]
    modules += [f"conv_block6.op.{op}" for op in (0, 4)]
    names = _conv_names(1, (7,)) + _conv_names(2, (3, 3, 1, 1))
    yield from _conv_blocks(model.backbone, zip(modules, names, strict=True))
    yield "dense", model.backbone.get_layer("global_conv")
    yield "classify", model.backbone.get_layer("logits")


def vgg_aib_names(model):
    """Pairs of module and layer of the authors' VGG for 32x32 images."""
    modules = [f"features.{block}.op.{op}" for block in (0, 1) for op in (0, 3)]
    modules += [f"features.2.op.{op}" for op in (0, 3, 6)]
    features = zip(modules, _conv_names(1, (7,)), strict=True)
    yield from _conv_blocks(model.feature_extractor, features)

    modules = [f"encode.{block}.op.{op}" for block in (0, 2) for op in (0, 3, 6)]
    modules += [f"encode.4.op.{op}" for op in (0, 4)]
    trunk = model.encoder.trunk
    yield from _conv_blocks(trunk, zip(modules, _conv_names(2, (3, 3, 1, 1)), strict=True))
    yield "encode.5", trunk.get_layer("global_conv")
    yield "encode.8", model.encoder.linear
    yield "att_module_mu.0", model.attention.head
    yield from _shared_names(model, hidden="decode.0", logits="decode.2")


def _conv_names(first_block, counts):
    return [
        f"block{block}_conv{index}"
        for block, count in enumerate(counts, start=first_block)
        for index in range(1, count + 1)
    ]


def wrn_aib_names(model):
    """Pairs of module and layer of the authors' Wide-ResNet for 32x32 images."""
    features, head, trunk = model.feature_extractor, model.attention.head, model.encoder.trunk
    yield "conv1", features.get_layer("stem")
    yield from _wrn_group("block1", features, "group1")
    yield from _wrn_group("block2", features, "group2")
    yield from _wrn_group("att_module_mu.0", head, "group")
    for module, layer in (
        ("att_module_mu.1", "group_bn"),
        ("att_module_mu.2", "class_conv"),
        ("att_module_mu.3", "class_bn"),
        ("att_module_mu.5", "map_conv"),
        ("att_module_mu.6", "map_bn"),
    ):
        yield module, head.get_layer(layer)
    yield from _wrn_group("encode.0", trunk, "group3")
    yield "encode.1", trunk.get_layer("final_bn")
    yield "encode.5", model.encoder.linear
    yield from _shared_names(model, hidden=None, logits="decode.1")


def wrn_abn_names(model):
    """Pairs of module and layer of the Attention Branch Network."""
    backbone = model.backbone
    yield from _wrn_group("block1", backbone, "group1")
    yield from _wrn_group("block2", backbone, "group2")
    yield from _wrn_group("att_block3", backbone, "group")
    yield from _wrn_group("block3", backbone, "group3")
    for module, layer in (
        ("conv1", "stem"),
        ("bn_att", "group_bn"),
        ("att_conv", "class_conv"),
        ("bn_att2", "class_bn"),
        ("att_conv2", "branch_conv"),
        ("att_conv3", "map_conv"),
        ("bn_att3", "map_bn"),
        ("bn1", "final_bn"),
        ("fc", "logits"),
    ):
        yield module, backbone.get_layer(layer)


def _wrn_group(module, part, group):
    layers = {layer.name for layer in part.layers}
    for index in range(BLOCKS_PER_GROUP):
        block = f"{group}_block{index + 1}"
        for child, layer in (
            ("bn1", "bn1"),
            ("conv1", "conv1"),
            ("bn2", "bn2"),
            ("conv2", "conv2"),
            ("convShortcut", "shortcut"),
        ):
            if f"{block}_{layer}" in layers:
                yield f"{module}.layer.{index}.{child}", part.get_layer(f"{block}_{layer}")
