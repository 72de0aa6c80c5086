"""No public name or signature changes unannounced.

`python tests/api/test_public_api.py` writes public_api.txt anew. Say in CHANGELOG.md what changed.
"""

import difflib
import importlib
import inspect
import pathlib

import keras

import aib_keras

# Methods that Keras calls or defines.
OF_KERAS = {
    "build",
    "build_from_config",
    "call",
    "compute_loss",
    "compute_output_shape",
    "compute_output_spec",
    "evaluate",
    "fit",
    "from_config",
    "get_config",
    "load_own_variables",
    "predict",
    "result",
    "save_own_variables",
    "update_step",
}
SNAPSHOT = pathlib.Path(__file__).with_name("public_api.txt")


def public_api():
    """The lines of the snapshot: every name in `__all__` of the packages, with its signature."""
    lines = []
    for package in sorted([*aib_keras.__all__, "experiments"]):
        module = importlib.import_module(f"aib_keras.{package}")
        for name in sorted(module.__all__):
            lines += described(f"aib_keras.{package}.{name}", getattr(module, name))
    return lines


def described(name, value):
    """The lines of one name: a class has a line per public method of its own."""
    if inspect.isclass(value):
        if issubclass(value, Exception):
            return [f"{name}: {value.__base__.__name__}"]
        lines = [f"{name}{signature(value)}"]
        for method, member in sorted(vars(value).items()):
            if method.startswith("_") or method in OF_KERAS:
                continue
            if isinstance(member, property):
                lines.append(f"{name}.{method}")
            elif inspect.isfunction(member):
                lines.append(f"{name}.{method}{signature(member)}")
        return lines
    if callable(value):
        return [f"{name}{signature(value)}"]
    return [name]


def signature(value):
    found = inspect.signature(value)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty, default=plain(parameter.default))
        for parameter in found.parameters.values()
    ]
    empty = inspect.Signature.empty
    return str(found.replace(parameters=parameters, return_annotation=empty))


def plain(default):
    """A default whose repr is the same on every machine."""
    return default if "0x" not in repr(default) else "..."


def test_the_public_api_is_the_snapshot():
    difference = difflib.unified_diff(
        SNAPSHOT.read_text().splitlines(), public_api(), "public_api.txt", "now", lineterm="", n=0
    )
    text = "\n".join(difference)
    assert not text, f"{text}\nRun python {pathlib.Path(__file__).name} if that is intended."


def test_help_shows_the_settings_of_a_zoo_model():
    assert isinstance(aib_keras.zoo.vgg(width=0.03), keras.Model)
    for name in ("beta", "num_anchors", "modulation", "width"):
        assert name in inspect.signature(aib_keras.zoo.vgg_aib_qt).parameters


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(public_api()) + "\n")
