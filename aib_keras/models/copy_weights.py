"""Weights of one model as a start for another."""

import collections

from aib_keras.layers import IBAttention, VariationalEncoder

_PRICES = ("beta", "map_beta")
_Place = collections.namedtuple("_Place", ["in_attention", "name"])


def copy_weights(source, target):
    """Copies the weights of layers that have the same name and shapes in both models.

        plain = aib_keras.zoo.vgg(weights="cifar10")
        model = aib_keras.zoo.vgg_aib_qt(width=0.25)
        aib_keras.models.copy_weights(plain, model)

    Layers inside an attention are only copied from inside an attention, because they can have the
    names of layers of the backbone. The prices of information, `beta` and `map_beta`, are not
    copied: they belong to a training.

    Args:
        source: Built `keras.Model`.
        target: Built `keras.Model`, which is changed in place.

    Returns:
        The names of the copied layers, a list.

    Raises:
        ValueError: if there is no such layer, or if a model has several of one name.
    """
    sources, targets = _variables_by_place(source), _variables_by_place(target)
    shared = [place for place in targets if place in sources]
    for place in shared:
        for model, found in ((source, sources[place]), (target, targets[place])):
            if len(found) > 1:
                raise ValueError(
                    f"{model.name} has {len(found)} layers named {place.name!r}, and layers are "
                    "told apart by their names. Rename them."
                )
    copied = []
    for place in shared:
        [values], [variables] = sources[place], targets[place]
        if _shapes(values) == _shapes(variables):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            copied.append(place.name)
    if not copied:
        there = sorted({place.name for place in sources})
        raise ValueError(
            f"{target.name} has no layer of the same name and shapes as one of {source.name}. "
            f"The layers of {source.name} with weights are {', '.join(there) or 'none'}. "
            "Build both models with the same settings, such as `width`."
        )
    return copied


def _variables_by_place(model):
    """Returns lists of the variables of each layer with weights of its own, by `_Place`."""
    found, seen = collections.defaultdict(list), set()

    def visit(layer, in_attention):
        if id(layer) in seen:
            return
        seen.add(id(layer))
        parts = layer._flatten_layers(include_self=False, recursive=False)
        in_parts = {id(each) for part in parts for each in part.weights}
        variables = [each for each in layer.weights if id(each) not in in_parts]
        if isinstance(layer, IBAttention):
            in_attention = True
        if isinstance(layer, (IBAttention, VariationalEncoder)):
            variables = [each for each in variables if each.name not in _PRICES]
        if variables:
            found[_Place(in_attention, layer.name)].append(variables)
        for part in parts:
            visit(part, in_attention)

    visit(model, False)
    return found


def _shapes(variables):
    return [tuple(variable.shape) for variable in variables]
