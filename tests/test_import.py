"""`import aib_keras`, each time in a process of its own."""

import pathlib
import subprocess
import sys

import keras

REPOSITORY = pathlib.Path(__file__).parents[1]

# Keras and its backend may import what they like; `aib_keras` may not.
WITHOUT = """
import builtins, sys
import keras

for package in ("scipy", "sklearn", "matplotlib"):
    sys.modules[package] = None
blocked = {"tensorflow", "tensorflow_datasets", "matplotlib", "sklearn", "scipy", "torch", "jax"}
real_import = builtins.__import__

def guarded_import(name, globals=None, *arguments):
    importer = (globals or {}).get("__name__", "")
    if importer.startswith("aib_keras") and name.partition(".")[0] in blocked:
        raise ImportError(f"{importer} imports {name}")
    return real_import(name, globals, *arguments)

builtins.__import__ = guarded_import
import aib_keras, aib_keras.explain, aib_keras.metrics, aib_keras.plots
"""

WITHOUT_BACKEND = """
import sys

class Hidden:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import aib_keras
"""


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )


def test_import_needs_no_optional_package():
    done = run(WITHOUT)
    assert done.returncode == 0, done.stderr[-2000:]


def test_import_without_the_backend_ends_in_one_sentence():
    name = keras.backend.backend()
    done = run(WITHOUT_BACKEND, name)
    last_line = done.stderr.strip().split("\n")[-1]
    assert last_line.startswith(f"ImportError: Keras is set to the {name} backend")
    assert f'pip install "aib-keras[{name}]"' in last_line
