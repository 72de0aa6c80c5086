"""IB attention at a layer of anybody's functional Keras model."""

import math

import keras
from keras import layers

from aib_keras.models.assembly import assemble
from aib_keras.models.graphs import check_channels_last, outputs_of, steps_of
from aib_keras.utils.checks import check_boolean, check_integer
from aib_keras.utils.suggestions import did_you_mean

# Sides of the image over sides of the map: 14x14 for 224x224 images, as in the paper's models.
_USUAL_REDUCTION = 16


def attach(
    backbone,
    layer_name,
    num_classes,
    quantized=True,
    *,
    preprocessing=None,
    latent_dim=256,
    num_anchors=20,
    beta=0.01,
    kl_scale="std",
    modulation="mask",
    map_beta=0.0,
    stochastic=True,
    quantization_weight=0.4,
    commitment_weight=0.1,
):
    """Puts IB attention after a layer of a functional model, such as those of keras.applications.

        model = attach(keras.applications.ResNet50V2(include_top=False), "conv4_block5_out", 200)

    The model from its input to that layer becomes the feature extractor. What follows the layer
    becomes the trunk of the variational encoder, with global average pooling if it ends in a map.
    The attention's mean is one 3x3 convolution. The decoder is a linear layer of `latent_dim`
    units, ReLU, and a linear layer of `num_classes`. A backbone that ends in class probabilities
    works too: the encoder then reads these as features.

    The layers are the backbone's own, not copies: its weights are kept, and training the returned
    model changes the backbone.

    Args:
        backbone: Functional or built Sequential `keras.Model` with one input `(B, H, W, channels)`
            and one output, `(B, D)` or a map `(B, h, w, D)`, channels last.
        layer_name: Name of a layer (or operation) of the backbone whose output is a map
            `(B, h, w, C)`. No path from the input to the output may bypass it: choose the Add at
            the end of a residual block, for example, not a layer inside it. None chooses the last
            such layer whose map has a side of a sixteenth of the image's (14x14 for 224x224
            images), or the nearest to that, and prints its name.
        num_classes: Integer, at least 2.
        quantized: Boolean, whether the map is quantised.
        preprocessing: As in `ImageClassifier`. With None, images are what the backbone takes. For
            many models of keras.applications that is [0, 255], for the others what their
            `preprocess_input` returns. For a backbone that takes [0, 255], pass
            `keras.layers.Identity()`: an exported model then takes uint8 images and image files.
        latent_dim: Integer K, the dimensions of z.
        num_anchors: Integer Q, the levels of a quantised map.
        beta: As in `VariationalEncoder`.
        kl_scale: As in `VariationalEncoder`.
        modulation: As in `IBAttention`. With `"mask"`, the default here, only what the map lets
            through reaches the classifier. `"residual"` is the paper's.
        map_beta: As in `IBAttention`. Warm a price up, as `aib_keras.training.fit` and
            `BetaWarmup` do: with its full weight from the first step, the map can close before the
            network has learned anything.
        stochastic: As in `VariationalClassifier`.
        quantization_weight: As in `AnchorQuantizer`, for a quantised map.
        commitment_weight: As in `AnchorQuantizer`, for a quantised map.

    Returns:
        A built `AIBClassifier` from images `(B, H, W, channels)` to logits `(B, num_classes)`.

    Raises:
        ValueError: if the backbone has no graph of layers or has several inputs or outputs, if it
            has no layer `layer_name` or cannot be cut there (the error lists the layers where it
            can), if it is channels first, or if a value is out of its range.
    """
    quantized = check_boolean("quantized", quantized)
    num_classes = check_integer("num_classes", num_classes, minimum=2)
    num_anchors = check_integer("num_anchors", num_anchors, minimum=2) if quantized else None
    inputs, outputs = _ends(backbone)
    if layer_name is None:
        layer_name = _default_layer(backbone, inputs, outputs)
        print(f"attach: IB attention comes after the layer {layer_name!r} of {backbone.name}.")
    features = _features(backbone, layer_name, inputs, outputs)

    if len(outputs.shape) == 4:
        outputs = layers.GlobalAveragePooling2D(data_format="channels_last")(outputs)
    model = assemble(
        f"{backbone.name}_aib_qt" if quantized else f"{backbone.name}_aib",
        keras.Model(inputs, features, name="feature_extractor"),
        trunk=keras.Model(features, outputs, name="trunk"),
        decoder=lambda latent_dim: [
            layers.Dense(latent_dim, "relu", name="hidden"),
            layers.Dense(num_classes, name="logits"),
        ],
        preprocessing=preprocessing,
        latent_dim=latent_dim,
        num_anchors=num_anchors,
        beta=beta,
        kl_scale=kl_scale,
        modulation=modulation,
        map_beta=map_beta,
        stochastic=stochastic,
        quantization_weight=quantization_weight,
        commitment_weight=commitment_weight,
    )
    model.build(inputs.shape)
    return model


def _ends(backbone):
    """Returns the symbolic input and output of a backbone that has a graph and one of each."""
    outputs = outputs_of(backbone)
    if not outputs:
        raise ValueError(
            f"attach cuts the graph of a functional model, and {backbone!r} has none. Pass a "
            "functional model or a built Sequential one. If yours is a subclassed model around a "
            "functional one, pass the functional one."
        )
    inputs = backbone.inputs
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0].shape) not in (2, 4):
        raise ValueError(
            f"attach needs a backbone with one input and one output, (B, D) or (B, h, w, D); "
            f"{backbone.name} has inputs {[tuple(x.shape) for x in inputs]} and outputs "
            f"{[tuple(x.shape) for x in outputs]}. Pass keras.Model(input, output) of the part "
            "that counts."
        )
    check_channels_last(backbone)
    return inputs[0], outputs[0]


def _default_layer(backbone, inputs, outputs):
    """Returns the name of the last layer that can be cut and has a map of about the usual size."""
    possible = [step for step in steps_of(backbone) if _cut_problem(step, inputs, outputs) is None]
    if not possible:
        raise ValueError(f"{backbone.name} cannot be cut at any of its layers.")
    side = inputs.shape[1]
    if side is None:
        raise ValueError(
            f"{backbone.name} takes images of any size, so there is no layer with a map of the "
            "usual size. Pass `layer_name`, or build it with a fixed `input_shape`."
        )

    def distance(step):
        # In halvings of the map.
        found = _outputs_of(step, outputs)[0].shape[1]
        return abs(math.log2(side / found / _USUAL_REDUCTION))

    nearest = min(map(distance, possible))
    return [step.name for step in possible if distance(step) == nearest][-1]


def _features(backbone, layer_name, inputs, outputs):
    """Returns the output of the layer in the backbone's graph, if the graph can be cut there."""
    if not isinstance(layer_name, str):
        raise TypeError(
            f"`layer_name` must be the name of a layer, got {layer_name!r}. Pass its `name`."
        )
    steps = steps_of(backbone)
    named = {step.name: step for step in steps}
    if layer_name not in named:
        raise ValueError(
            f"{backbone.name} has no layer {layer_name!r}.{did_you_mean(layer_name, named)}"
        )

    problem = _cut_problem(named[layer_name], inputs, outputs)
    if problem is not None:
        possible = [step.name for step in steps if _cut_problem(step, inputs, outputs) is None]
        raise ValueError(
            f"{backbone.name} cannot be cut at {layer_name!r}: {problem}. It can be cut at: "
            f"{', '.join(possible) or 'none of its layers'}."
        )
    return _outputs_of(named[layer_name], outputs)[0]


def _cut_problem(layer, inputs, outputs):
    """Returns why attention cannot come after a layer, or None if it can."""
    found = _outputs_of(layer, outputs)
    if len(found) != 1:
        return f"the backbone's output uses {len(found)} outputs of it, expected one"
    if found[0] is inputs:
        return "it is the input"
    if len(found[0].shape) != 4:
        return f"its output has shape {tuple(found[0].shape)}, expected a map (B, h, w, C)"
    if id(inputs) in _ancestors(outputs, stop=found[0]):
        return "a residual connection or a gate bypasses it"
    return None


def _outputs_of(layer, outputs):
    return [x for x in _ancestors(outputs).values() if x._keras_history.operation is layer]


def _ancestors(tensor, stop=None):
    """Returns by id the tensors that `tensor` depends on, and itself, without going past `stop`.

    Keras has no public way to walk a graph that knows which call of a layer is in the model:
    `layer.output` is the output of its first call, wherever that was.
    """
    found, pending = {}, [tensor]
    while pending:
        current = pending.pop()
        if current is stop or id(current) in found:
            continue
        found[id(current)] = current
        operation, node_index, _ = current._keras_history
        pending.extend(operation._inbound_nodes[node_index].input_tensors)
    return found
