"""Imports of packages that only some features need."""

import importlib


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
