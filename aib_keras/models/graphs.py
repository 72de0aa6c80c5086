"""The graph of a functional or Sequential model, as far as it is known."""


def outputs_of(model):
    """Returns the symbolic outputs of a model, none if its graph is not known."""
    try:
        return list(model.outputs or [])
    except (AttributeError, ValueError):  # A subclassed model, or a Sequential that is not built.
        return []


def steps_of(model):
    """Returns the layers of a model in order, and operations such as the sum `x + y`.

    In a residual network the sum has the features, and the layer before it only what a branch adds.
    """
    return getattr(model, "operations", getattr(model, "layers", ()))
