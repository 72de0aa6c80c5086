"""How a zoo model is made from its name: checks, preprocessing, building, weights."""

import difflib
import numbers

import keras

from aib_keras.models.assembly import check_settings
from aib_keras.utils.checks import check_integer
from aib_keras.zoo.weights import load_weights

_MODELS = {}


def zoo_model(min_side, mean, std, num_classes=10, input_shape=(32, 32, 3), **settings):
    """Makes a zoo function of a builder and lists it under the builder's name.

    The builder takes `num_classes`, `input_shape`, `preprocessing` and every setting as keyword
    arguments.

    Args:
        min_side: Integer, the smallest side of an input image in pixels.
        mean, std: Three floats each: the normalisation of images scaled to [0, 1], unless the
            caller of the zoo function sets another.
        num_classes, input_shape: Defaults of the zoo function.
        **settings: The model's settings and their defaults.
    """
    known = {**settings, "mean": mean, "std": std}
    default_classes, default_shape = num_classes, input_shape

    def decorate(builder):
        name = builder.__name__

        def function(
            num_classes=default_classes,
            input_shape=default_shape,
            weights=None,
            include_preprocessing=True,
            **settings,
        ):
            check_settings(f"zoo.{name}", settings, known)
            num_classes = check_integer("num_classes", num_classes, minimum=2)
            input_shape = _check_input_shape(name, input_shape, min_side)
            chosen = {**known, **settings}
            if weights is not None and chosen.get("backbone_weights") is not None:
                raise ValueError(
                    "`weights` are those of the whole model, `backbone_weights` those that its "
                    "training starts from: give one of them."
                )
            _check_width(chosen["width"])
            preprocessing = _normalization(chosen.pop("mean"), chosen.pop("std"))
            model = builder(
                num_classes=num_classes,
                input_shape=input_shape,
                preprocessing=preprocessing if include_preprocessing else None,
                **chosen,
            )
            model.build((None, *input_shape))
            if weights is not None:
                load_weights(model, name, weights, num_classes)
            return model

        function.__name__ = function.__qualname__ = name
        function.__module__ = builder.__module__
        function.__doc__ = _docstring(builder.__doc__, known)
        _MODELS[name] = function
        return function

    return decorate


def _docstring(summary, known):
    listing = "\n".join(f"        {name}: {value!r}" for name, value in known.items())
    return f"""{summary.strip()}

    Args:
        num_classes: Integer, at least 2.
        input_shape: (height, width, 3).
        weights: None (new weights), the name of a data set in the zoo's index, or a path.
        include_preprocessing: Boolean. True: the model takes images in [0, 255] and normalises
            them. False: it takes normalised images.
        **settings: Any of these, here with their defaults:
{listing}

    Returns:
        A built `keras.Model` from images `(B, height, width, 3)` to logits `(B, num_classes)`.

    Raises:
        TypeError: for a setting that the model does not have.
        ValueError: for a value out of its range, or weights that do not fit.
    """


def list_models():
    """Sorted names of the zoo's models; each is a function of `aib_keras.zoo`."""
    return sorted(_MODELS)


def get(name):
    """The zoo function called `name`, or a ValueError that names the nearest ones."""
    if name not in _MODELS:
        near = difflib.get_close_matches(str(name), _MODELS, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"There is no zoo model called {name!r}.{hint} The zoo has: {', '.join(list_models())}."
        )
    return _MODELS[name]


def _check_width(width):
    if isinstance(width, bool) or not isinstance(width, numbers.Real) or not 0 < width < 100:
        raise ValueError(f"`width` must be a number above 0, 1 for the paper's; got {width!r}.")


def _check_input_shape(name, input_shape, min_side):
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    sides_valid = len(shape) == 3 and all(isinstance(side, int) for side in shape)
    if not sides_valid or shape[2] != 3 or min(shape[:2]) < min_side:
        raise ValueError(
            f"zoo.{name} needs an input_shape (height, width, 3) of at least {min_side} pixels a "
            f"side, got {input_shape!r}."
        )
    return shape


def _normalization(mean, std):
    """From [0, 255] to `(x / 255 - mean) / std` per channel."""
    valid = all(
        isinstance(values, (tuple, list))
        and len(values) == 3
        and all(isinstance(value, numbers.Real) for value in values)
        for values in (mean, std)
    )
    if not valid or min(std) <= 0:
        raise ValueError(
            f"`mean` and `std` need three numbers each, for images scaled to [0, 1], and `std` "
            f"above 0; got mean={mean!r}, std={std!r}."
        )
    return keras.layers.Rescaling(
        # Of rank 3, or Keras would turn it round under a global "channels_first".
        scale=[[[1 / (255 * s) for s in std]]],
        offset=[-m / s for m, s in zip(mean, std, strict=True)],
        dtype="float32",
        name="preprocessing",
    )
