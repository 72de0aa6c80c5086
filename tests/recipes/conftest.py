import importlib.util
import pathlib

import pytest
from absl import flags

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="session")
def recipe_path():
    """`recipe_path(name)`: where recipes/NAME.py is."""
    return lambda name: str(RECIPES / f"{name}.py")


@pytest.fixture(scope="module")
def load_recipe():
    """`load_recipe(name)`: the module of recipes/NAME.py. Its flags are gone after the tests."""
    before = set(flags.FLAGS)
    yield _load
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


def _load(name):
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def stl10_classes():
    """STL-10's class names, in the order of their labels."""
    return ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
