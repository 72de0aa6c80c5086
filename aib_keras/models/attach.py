"""IB attention at a layer of anybody's functional Keras model."""

import difflib

import keras
from keras import layers

from aib_keras.models.assembly import AIB_SETTINGS, QUANTIZER_SETTINGS, assemble, check_settings
from aib_keras.utils.checks import check_integer


def attach(
    backbone,
    layer_name,
    num_classes,
    quantized=True,
    *,
    preprocessing=None,
    latent_dim=256,
    num_anchors=20,
    **settings,
):
    """Puts IB attention after a layer of a functional model, such as those of keras.applications.

        model = attach(keras.applications.ResNet50V2(include_top=False), "conv4_block5_out", 200)

    The model from its input to that layer becomes the feature extractor, what follows the layer
    the trunk of the variational encoder, with global average pooling if it ends in a map. The
    attention's mean is one 3x3 convolution; the decoder is a linear layer of `latent_dim` units,
    ReLU, and a linear layer of `num_classes`. A backbone that ends in class probabilities serves,
    too: they are then the features that the encoder reads.

    The layers are the backbone's own, not copies: its weights are kept, and training the returned
    model changes the backbone.

    Args:
        backbone: Functional or built Sequential `keras.Model` with one input `(B, H, W, channels)`
            and one output, `(B, D)` or a map `(B, h, w, D)`, channels last.
        layer_name: Name of a layer (or operation) of the backbone whose output is a map
            `(B, h, w, C)` and the only way from the input to the output, as after the Add of a
            residual block.
        num_classes: Integer, at least 2.
        quantized: Boolean, whether the map is quantised.
        preprocessing: As in `ImageClassifier`. None: images are what the backbone takes, which
            for many of keras.applications is [0, 255] and for the rest what their
            `preprocess_input` gives.
        latent_dim: Integer K, the dimensions of z.
        num_anchors: Integer Q, the levels of the map if it is quantised.
        **settings: `beta`, `kl_scale`, `modulation`, `stochastic`, and for a quantised map
            `quantization_weight` and `commitment_weight`, as the layers describe them.

    Returns:
        A built `AIBClassifier` from images `(B, H, W, channels)` to logits `(B, num_classes)`.

    Raises:
        TypeError: for a setting that there is not.
        ValueError: for a backbone without a graph of layers or with several inputs or outputs, a
            layer that it does not have or where it cannot be cut (the error names those where it
            can), or a value out of its range.
    """
    known = {**AIB_SETTINGS, **(QUANTIZER_SETTINGS if quantized else {})}
    check_settings("attach", settings, known)
    num_classes = check_integer("num_classes", num_classes, minimum=2)
    inputs, outputs = _ends(backbone)
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
        num_anchors=num_anchors if quantized else None,
        **{**known, **settings},
    )
    model.build(inputs.shape)
    return model


def _ends(backbone):
    """The symbolic input and output of a backbone, if it has a graph and one of each."""
    try:
        inputs, outputs = backbone.inputs, backbone.outputs
    except (AttributeError, ValueError):  # A subclassed model, or a Sequential that is not built.
        inputs = outputs = None
    if not inputs or not outputs:
        raise ValueError(
            f"attach cuts the graph of a functional model, and {backbone!r} has none. Pass a "
            "functional model or a built Sequential one; of a subclassed model that wraps one, "
            "pass that."
        )
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0].shape) not in (2, 4):
        raise ValueError(
            f"attach needs a backbone with one input and one output, (B, D) or (B, h, w, D); "
            f"{backbone.name} has inputs {[tuple(x.shape) for x in inputs]} and outputs "
            f"{[tuple(x.shape) for x in outputs]}. Pass keras.Model(input, output) of the part "
            "that counts."
        )
    return inputs[0], outputs[0]


def _features(backbone, layer_name, inputs, outputs):
    """What the layer gives in the backbone's graph, if the graph can be cut there."""
    # In ConvNeXt the ends of the blocks are no layers but operations: `inputs + x`.
    steps = getattr(backbone, "operations", backbone.layers)
    named = {step.name: step for step in steps}
    if layer_name not in named:
        near = difflib.get_close_matches(str(layer_name), named, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"{backbone.name} has no layer {layer_name!r}.{hint}")

    problem = _cut_problem(named[layer_name], inputs, outputs)
    if problem is not None:
        possible = [step.name for step in steps if _cut_problem(step, inputs, outputs) is None]
        raise ValueError(
            f"{backbone.name} cannot be cut at {layer_name!r}: {problem}. It can be cut at: "
            f"{', '.join(possible) or 'none of its layers'}."
        )
    return _outputs_of(named[layer_name], outputs)[0]


def _cut_problem(layer, inputs, outputs):
    """Why attention cannot come after a layer, or None if it can."""
    found = _outputs_of(layer, outputs)
    if len(found) != 1:
        return f"the backbone's output uses {len(found)} outputs of it, expected one"
    if found[0] is inputs:
        return "it is the input"
    if len(found[0].shape) != 4:
        return f"its output has shape {tuple(found[0].shape)}, expected a map (B, h, w, C)"
    if id(inputs) in _ancestors(outputs, stop=found[0]):
        return "the output can be reached without it, past a residual or a gate"
    return None


def _outputs_of(layer, outputs):
    return [x for x in _ancestors(outputs).values() if x._keras_history.operation is layer]


def _ancestors(tensor, stop=None):
    """By id the tensors that `tensor` is computed from, and itself, but for those via `stop`.

    Keras has no public way to walk a graph that knows which of a layer's calls is in the model:
    `layer.output` is that of its first call, wherever that was.
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
