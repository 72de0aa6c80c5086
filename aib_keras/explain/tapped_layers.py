"""The features inside a model: which layer they come from, how to read and to replace them."""

import contextlib

import keras
from keras import ops

from aib_keras.explain.class_scores import ClassScores
from aib_keras.models import ImageClassifier
from aib_keras.models.graphs import steps_of
from aib_keras.utils.suggestions import did_you_mean


class Features(ClassScores):
    """The output of a layer, `(B, h, w, C)`."""

    def __init__(self, classifier, tapped):
        super().__init__(classifier, name="saliency")
        self.tapped = tapped

    def call(self, inputs):
        return ops.cast(self.features_of(inputs[0]), "float32")

    def features_of(self, images):
        """Returns the output of the layer as it is, `(B, h, w, C)`."""
        with output_of(self.tapped) as seen:
            self.classifier(images, training=False)
        if len(seen) != 1 or len(seen[0].shape) != 4:
            shapes = [tuple(each.shape) for each in seen]
            raise ValueError(
                "These maps need a layer that the model calls once and whose output is "
                f"(B, h, w, C); in {self.classifier.name}, the outputs of {self.tapped.name!r} "
                f"have shapes {shapes}. Pass another `layer`."
            )
        return seen[0]


def tapped_layer(model, layer):
    """Returns the layer whose output the gradients refer to."""
    if layer is not None:
        return _find_layer(model, layer)
    is_ours = isinstance(model, ImageClassifier)
    found = model.features_layer if is_ours else _last_map(model)
    if found is None:
        raise ValueError(
            f"It is not known which layer of {model.name} to take the features from. Pass a layer "
            "or its name as `layer`; the last convolution is usual."
        )
    return found


def _last_map(model):
    """Returns the last step of a model whose output is a map, or None if the graph is unknown."""
    found = None
    for step in steps_of(model):
        if isinstance(step, keras.Model):
            found = _last_map(step) or found
            continue
        try:
            shape = step.output.shape
        except (AttributeError, ValueError):
            continue
        if len(shape) == 4 and not isinstance(step, keras.layers.InputLayer) and shape[1] != 1:
            found = step
    return found


def _find_layer(model, layer):
    """Returns `layer`, or the layer or operation of the model that has this name."""
    if isinstance(layer, keras.Operation):
        return layer
    layers = list(model._flatten_layers(include_self=False))
    graphs = [model, *(part for part in layers if isinstance(part, keras.Model))]
    layers += [
        step
        for graph in graphs
        for step in steps_of(graph)
        if not isinstance(step, keras.layers.Layer)
    ]
    found = [each for each in layers if each.name == layer]
    if len(found) > 1:
        raise ValueError(
            f"{model.name} has {len(found)} layers named {layer!r}. Pass the layer itself; "
            "`get_layer` of the part of the model that contains it returns it."
        )
    if not found:
        hint = did_you_mean(layer, [each.name for each in layers])
        raise ValueError(f"{model.name} has no layer {layer!r}.{hint}")
    return found[0]


@contextlib.contextmanager
def output_of(layer, replaced_by=None):
    """Collects the outputs of a layer in a list, or replaces them, while the context is active.

    This gives access to the features inside any model, including subclassed ones, on every
    backend. Gradients with respect to an intermediate value would not do: JAX has none.
    """
    original, seen = layer.call, []

    def call(*args, **kwargs):
        if replaced_by is not None:
            return replaced_by
        seen.append(original(*args, **kwargs))
        return seen[-1]

    layer.call = call
    try:
        yield seen
    finally:
        # Uncovers the method of the class.
        del layer.call
