"""The weights of information in a model: beta of the latent, and map_beta of the map."""

from aib_keras.layers.attention import IBAttention
from aib_keras.layers.variational import VariationalEncoder


def charge_in_full(model):
    """Gives the weights of information in a model their full values."""
    for weight, full in information_weights(model):
        weight.assign(full)


def information_weights(model):
    """Returns the variables that weigh information in a model, nested layers included.

    Returns:
        A list of pairs of a variable and its full value: `beta` of each `VariationalEncoder`, and
        `map_beta` of each `IBAttention` that has a price.
    """
    found = []
    for layer in model._flatten_layers():
        if isinstance(layer, VariationalEncoder):
            found.append((layer.beta, layer.initial_beta))
        elif isinstance(layer, IBAttention) and layer.map_beta is not None:
            found.append((layer.map_beta, layer.initial_map_beta))
    return found
