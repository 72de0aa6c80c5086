"""The graph of a functional or Sequential model, as far as it is known."""


def inputs_of(model):
    """Returns the symbolic inputs of a model, none if its graph is not known."""
    return _known(model, "inputs")


def outputs_of(model):
    """Returns the symbolic outputs of a model, none if its graph is not known."""
    return _known(model, "outputs")


def _known(model, name):
    try:
        return list(getattr(model, name) or [])
    except (AttributeError, ValueError):  # A subclassed model, or a Sequential that is not built.
        return []


def check_channels_last(model):
    """Raises a ValueError for a model with layers that expect the channels first."""
    if first := [
        layer.name
        for layer in model._flatten_layers()
        if getattr(layer, "data_format", None) == "channels_first"
    ]:
        raise ValueError(
            f"{model.name} has layers with channels first, and channels last are expected here: "
            f"{', '.join(first[:3])}. Build it after "
            'keras.config.set_image_data_format("channels_last").'
        )


def steps_of(model):
    """Returns the layers of a model in order, and operations such as the sum `x + y`.

    In a residual network the sum has the features, and the layer before it only what a branch adds.
    """
    return getattr(model, "operations", getattr(model, "layers", ()))
