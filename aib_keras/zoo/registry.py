"""How a zoo model is made from its name: checks, preprocessing, building, weights."""

import fnmatch
import inspect
import numbers
import typing

import keras

from aib_keras.layers.information_weights import charge_in_full
from aib_keras.utils.checks import check_integer, check_number
from aib_keras.utils.suggestions import did_you_mean
from aib_keras.zoo import pretrained
from aib_keras.zoo.weights_file import is_path, load_weights

# What the docstring of a zoo function says of its settings.
_DESCRIPTIONS = {
    "width": (
        "Float, multiplies every channel count. 1 is the paper's network. On CPUs, those whose "
        "channel counts are multiples of 16 are the fastest: for VGG 0.25, 0.5 and 1, for "
        "Wide-ResNets 0.2, 0.4 and 1."
    ),
    "dropout": (
        "Float in [0, 1), the rate of dropout: between the two convolutions of a block of a "
        "Wide-ResNet, on the pooled features of an EfficientNet."
    ),
    "backbone_weights": "Weights that training starts from, see above.",
    "beta": "Non-negative float, the weight of the KL divergence (Eq. 10).",
    "kl_scale": (
        '`"std"` (the paper) or `"exp_std"` (the authors\' code), see `VariationalEncoder`.'
    ),
    "stochastic": "Boolean. False trains without sampling.",
    "modulation": (
        '`"residual"`, f + f * a (the authors\' code), `"mask"` or `"noise"`, see `IBAttention`.'
    ),
    "map_beta": "Non-negative float, the weight of the map's price, see `IBAttention`.",
    "latent_dim": "Integer K, the dimensions of the latent z.",
    "num_anchors": "Integer Q, the number of anchors that the map is quantised to.",
    "quantization_weight": "Non-negative float, lambda_q of Eq. 10.",
    "commitment_weight": "Non-negative float, lambda_c of Eq. 10.",
    "mean": "Three floats, one per channel, that are subtracted from images scaled to [0, 1].",
    "std": "Three floats above 0, one per channel, that these images are then divided by.",
}

# Settings that decide what a model computes with given weights.
_OF_THE_OUTPUTS = ("width", "latent_dim", "num_anchors", "modulation", "mean", "std")

_DOCSTRING = """{summary}

    Args:
        num_classes: Integer, at least 2.
        input_shape: (height, width, 3) in pixels, each side at least {min_side}.
        weights: None (random initialisation); the name of published weights, which also set the
            arguments that they were trained with (`zoo.weights("{name}")` lists them); or the path
            of a `.weights.h5` or `.keras` file.
        include_preprocessing: Boolean. True: the model takes images in [0, 255] and normalises
            them. False: it takes normalised images.
{settings}

    Returns:
        A built `keras.Model` from images `(B, height, width, 3)` to logits `(B, num_classes)`.

    Raises:
        TypeError: for a setting that the model does not have.
        ValueError: for a value out of its range, weights that do not fit, or a setting that
            contradicts what published weights were trained with.
    """


class Entry(typing.NamedTuple):
    """A zoo model.

    Attributes:
        function: What users call.
        authors_names: Function from a model to pairs of the name of a module in the authors'
            checkpoint and our layer; None if there is no such checkpoint.
        authors_unused: Prefixes of names in that checkpoint that its own forward pass ignores.
    """

    function: typing.Callable
    authors_names: typing.Callable | None
    authors_unused: tuple


_MODELS = {}


def zoo_model(
    min_side,
    mean,
    std,
    num_classes=10,
    input_shape=(32, 32, 3),
    authors_names=None,
    authors_unused=(),
    **settings,
):
    """Makes a zoo function of a builder and registers it under the builder's name.

    The builder takes `num_classes`, `input_shape`, `preprocessing` and every setting as keyword
    arguments.

    Args:
        min_side: Integer, the smallest side of an image in pixels.
        mean, std: Three floats each, defaults of the normalisation of images scaled to [0, 1].
        num_classes, input_shape: Defaults of the zoo function.
        authors_names, authors_unused: As in `Entry`.
        **settings: The model's settings and their defaults.
    """
    known = {**settings, "mean": mean, "std": std}
    default_classes, default_shape = num_classes, input_shape

    def decorate(builder):
        name = builder.__name__

        def function(*args, **kwargs):
            _check_settings(name, kwargs, signature.parameters, known)
            bound = signature.bind(*args, **kwargs)
            weights = bound.arguments.pop("weights", None)
            if weights is not None and bound.arguments.get("backbone_weights") is not None:
                raise ValueError(
                    "`weights` are those of the whole model, and `backbone_weights` are those that "
                    "its training starts from. Pass only one of them."
                )
            entry = None
            if weights is not None and not is_path(weights):
                entry = pretrained.find(name, weights)
                _check_agreement(name, entry, known, bound.arguments)
                bound.arguments.update(entry.settings)
            bound.apply_defaults()
            chosen = {**bound.arguments}
            del chosen["weights"]
            chosen["num_classes"] = check_integer("num_classes", chosen["num_classes"], minimum=2)
            chosen["input_shape"] = _check_input_shape(name, chosen["input_shape"], min_side)
            check_number("width", chosen["width"], minimum=1e-3, maximum=100)
            if "num_anchors" in chosen:
                check_integer("num_anchors", chosen["num_anchors"], minimum=2)
            preprocessing = _normalization(chosen.pop("mean"), chosen.pop("std"))
            if not chosen.pop("include_preprocessing"):
                preprocessing = None
            model = builder(preprocessing=preprocessing, **chosen)
            model.build((None, *chosen["input_shape"]))
            if weights is not None:
                path = weights if entry is None else pretrained.fetch(entry)
                load_weights(model, name, path, chosen["num_classes"])
                # The file has them as its training left them, perhaps in a warm-up.
                charge_in_full(model)
            return model

        signature = _signature(default_classes, default_shape, known)
        function.__name__ = function.__qualname__ = name
        function.__module__ = builder.__module__
        function.__signature__ = signature
        function.__doc__ = _docstring(builder, name, min_side, known)
        _MODELS[name] = Entry(function, authors_names, authors_unused)
        return function

    return decorate


def _signature(num_classes, input_shape, known):
    """The signature of a zoo function with its settings written out, for `help` and completion."""
    shared = {
        "num_classes": num_classes,
        "input_shape": input_shape,
        "weights": None,
        "include_preprocessing": True,
    }
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        inspect.Parameter(name, kind, default=value)
        for kind, values in zip(kinds, (shared, known), strict=True)
        for name, value in values.items()
    )


def _docstring(builder, name, min_side, known):
    settings = "\n".join(
        f"        {name}: {_DESCRIPTIONS[name]} Default: {value!r}."
        for name, value in known.items()
    )
    return _DOCSTRING.format(
        summary=builder.__doc__.strip(), name=name, min_side=min_side, settings=settings
    )


def list_models(pattern="*", weights=False):
    """Lists the names of the zoo's models.

    Args:
        pattern: String that names must match, with `*` and `?` as in file names: `"vgg*"`.
        weights: Boolean. True lists only models that have published weights.

    Returns:
        A sorted list of strings. Each is a function of `aib_keras.zoo`.

    Raises:
        ImportError, OSError, ValueError: with `weights=True`, as `aib_keras.zoo.weights`.
    """
    names = sorted(_MODELS)
    if weights:
        _, index = pretrained.read_index()
        names = [name for name in names if index.get(name)]
    return fnmatch.filter(names, pattern)


def create(name, **settings):
    """Builds a model of the zoo by its name: `create("vgg")` is `zoo.vgg()`.

    Args:
        name: String, one of `list_models()`.
        **settings: The arguments of the zoo function of that name.

    Returns:
        A built `keras.Model`.

    Raises:
        ValueError: for an unknown name, and as the zoo function raises it.
        TypeError: for a setting that the model does not have.
    """
    return get(name)(**settings)


def get(name):
    """Returns the zoo function called `name`.

    Raises:
        ValueError: for an unknown name. The error suggests similar ones.
    """
    return entry(name).function


def entry(name):
    """Returns the `Entry` of the model called `name`; raises as `get` does."""
    if name not in _MODELS:
        raise ValueError(
            f"There is no zoo model called {name!r}.{did_you_mean(name, _MODELS)} The zoo has: "
            f"{', '.join(list_models())}."
        )
    return _MODELS[name]


def _check_settings(name, settings, parameters, known):
    for setting in settings:
        if setting not in parameters:
            raise TypeError(
                f"zoo.{name} has no setting {setting!r}.{did_you_mean(setting, known, count=1)} "
                f"Its settings: {', '.join(known)}."
            )


def _check_agreement(name, entry, defaults, arguments):
    """Raises a ValueError for an argument that contradicts what the weights were trained with."""
    # An entry has the settings that the training was given. The others were the defaults.
    decided = {key: defaults[key] for key in _OF_THE_OUTPUTS if key in defaults}
    for setting, trained in {**decided, **entry.settings}.items():
        value = arguments.get(setting, trained)
        if (tuple(value) if isinstance(value, (list, tuple)) else value) != trained:
            raise ValueError(
                f"The weights {entry.name!r} of zoo.{name} were trained with "
                f"{setting}={trained!r}, and the call has {setting}={value!r}. Leave {setting} "
                "out, or train your own."
            )


def _check_input_shape(name, input_shape, min_side):
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    sides_valid = len(shape) == 3 and all(
        isinstance(side, numbers.Integral) and not isinstance(side, bool) for side in shape
    )
    if not sides_valid or shape[2] != 3 or min(shape[:2]) < min_side:
        raise ValueError(
            f"zoo.{name} needs an input_shape (height, width, 3) with sides of at least {min_side} "
            f"pixels, got {input_shape!r}."
        )
    return tuple(int(side) for side in shape)


def _normalization(mean, std):
    """Returns the layer from [0, 255] to `(x / 255 - mean) / std` per channel."""
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, (tuple, list)) or len(values) != 3:
            raise ValueError(
                f"`{name}` must be three numbers, one per channel of images scaled to [0, 1]; got "
                f"{values!r}."
            )
    mean = [check_number("mean", value) for value in mean]
    std = [check_number("std", value, minimum=1e-6) for value in std]
    return keras.layers.Rescaling(
        # Of rank 3, or Keras would reverse it under a global "channels_first".
        scale=[[[1 / (255 * s) for s in std]]],
        offset=[-m / s for m, s in zip(mean, std, strict=True)],
        dtype="float32",
        name="preprocessing",
    )
