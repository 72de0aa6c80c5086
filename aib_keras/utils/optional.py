"""Imports of packages that only some features need."""

import importlib
import importlib.util

_BACKENDS = ("tensorflow", "jax", "torch")


def require(module, feature, extra):
    """Imports an optional module, or raises an error that says how to install it.

    Args:
        module: Dotted name of the module, such as `"matplotlib.figure"`.
        feature: What needs it, as the subject of a sentence, such as `"Plotting"`.
        extra: Name of the extra of `aib-keras` that installs it.

    Returns:
        The module.

    Raises:
        ImportError: if the module's package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(
            f'{feature} needs {package}: pip install "aib-keras[{extra}]".', name=package
        ) from error


def missing_backend(error):
    """Returns the error to raise when `import keras` failed.

    Args:
        error: The `ModuleNotFoundError` of `import keras`.

    Returns:
        If Keras's backend is what is missing, an `ImportError` that says how to install it and
        which backend is installed instead. Otherwise `error`.
    """
    if error.name not in _BACKENDS:
        return error
    message = (
        f"Keras is set to the {error.name} backend, which is not installed: "
        f'pip install "aib-keras[{error.name}]"'
    )
    others = [name for name in _BACKENDS if name != error.name]
    installed = [name for name in others if importlib.util.find_spec(name)]
    if installed:
        message += (
            f", or set the environment variable KERAS_BACKEND={installed[0]} and restart Python"
        )
    return ImportError(f"{message}.", name=error.name)
