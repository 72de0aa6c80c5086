"""Which module of a PyTorch model for 224x224 images is which layer of ours."""

from aib_keras.models.imagenet import VGG16_BLOCKS, VGG16_POOLED_SIDE, WRN50_LAYERS
from aib_keras.zoo.torch_checkpoint import AfterFlatten


def vgg16_conv_names():
    """Names of VGG-16's convolutions, in their order; keras.applications has the same."""
    return [
        f"block{block}_conv{index}"
        for block, filters in enumerate(VGG16_BLOCKS, start=1)
        for index in range(1, len(filters) + 1)
    ]


def torchvision_wrn50_names(features, layer4):
    """Pairs of module and layer of torchvision's Wide-ResNet-50-2, without its `fc`.

    Args:
        features: The model that holds our stem and layers 1 to 3.
        layer4: The model that holds our fourth layer.
    """
    yield from _stem_to_layer3_names(features)
    yield from _layer_names("layer4", layer4, 4)


def authors_vgg16_names(model):
    """Pairs of module and layer of the authors' VGG-16 for CUB."""
    # Each convolution is followed by a ReLU, each block by a pooling.
    index = 0
    for block, filters in enumerate(VGG16_BLOCKS, start=1):
        for conv in range(1, len(filters) + 1):
            yield f"features.{index}", model.feature_extractor.get_layer(f"block{block}_conv{conv}")
            index += 2
        index += 1
    head = model.attention.head
    if model.attention.quantizer is None:
        yield "att_module_mu.0", head
    else:
        for index in (1, 2, 3):
            yield f"att_module_mu.{2 * index - 2}", head.get_layer(f"hidden_conv{index}")
        yield "att_module_mu.6", head.get_layer("map_conv")
    channels = model.feature_extractor.output.shape[-1]
    map_shape = (VGG16_POOLED_SIDE, VGG16_POOLED_SIDE, channels)
    yield "encode.2", AfterFlatten(model.encoder.linear, map_shape)
    yield from _shared_names(model)


def authors_wrn50_names(model):
    """Pairs of module and layer of the authors' Wide-ResNet-50-2 for CUB."""
    head = model.attention.head
    yield from _stem_to_layer3_names(model.feature_extractor)
    yield from _layer_names("att_module_mu.0", head, 4)
    yield "att_module_mu.1", head.get_layer("map_conv")
    yield from _layer_names("encode.0", model.encoder.trunk, 4)
    yield "encode.3", model.encoder.linear
    yield from _shared_names(model)


def _shared_names(model):
    yield "att_module_std.0", model.attention.std_conv
    if model.attention.quantizer is not None:
        yield "emb", model.attention.quantizer
    yield "decode.0", model.decoder.get_layer("hidden")
    yield "decode.2", model.decoder.get_layer("logits")


def _stem_to_layer3_names(features):
    yield "conv1", features.get_layer("stem_conv")
    yield "bn1", features.get_layer("stem_bn")
    for number in (1, 2, 3):
        yield from _layer_names(f"layer{number}", features, number)


def _layer_names(module, part, number):
    for index in range(WRN50_LAYERS[number - 1][1]):
        block = f"layer{number}_block{index + 1}"
        for conv in (1, 2, 3):
            yield f"{module}.{index}.conv{conv}", part.get_layer(f"{block}_conv{conv}")
            yield f"{module}.{index}.bn{conv}", part.get_layer(f"{block}_bn{conv}")
        if index == 0:
            yield f"{module}.0.downsample.0", part.get_layer(f"{block}_downsample_conv")
            yield f"{module}.0.downsample.1", part.get_layer(f"{block}_downsample_bn")
