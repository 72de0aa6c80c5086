"""Weights of one model as a start for another."""


def copy_weights(source, target):
    """Copies the weights of layers that have the same name and shapes in both models.

        plain = aib_keras.zoo.vgg(weights="cifar10")
        model = aib_keras.zoo.vgg_aib_qt(width=0.25)
        aib_keras.models.copy_weights(plain, model)

    Args:
        source: Built `keras.Model`.
        target: Built `keras.Model`, which is changed in place.

    Returns:
        The names of the copied layers, a list.

    Raises:
        ValueError: if there is no such layer.
    """
    sources = {layer.name: layer for layer in _leaves(source)}
    copied = []
    for layer in _leaves(target):
        found = sources.get(layer.name)
        if found is not None and _shapes(found) == _shapes(layer):
            layer.set_weights(found.get_weights())
            copied.append(layer.name)
    if not copied:
        raise ValueError(
            f"{target.name} has no layer of the same name and shapes as one of {source.name}. "
            f"The layers of {source.name} with weights are {', '.join(sorted(sources)) or 'none'}. "
            "Build both models with the same settings, such as `width`."
        )
    return copied


def _leaves(model):
    """The layers with weights of their own that are made of no other layers."""
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if layer.weights and not list(layer._flatten_layers(include_self=False))
    ]


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]
