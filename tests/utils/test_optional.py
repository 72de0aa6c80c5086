import importlib.util

import pytest

from aib_keras.utils.optional import missing_backend, require


def installed(monkeypatch, *names):
    """Makes these the only backends that are installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in names or None)


def missing(name):
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_require_returns_the_module():
    assert require("os.path", "A test", "train").join("a", "b").startswith("a")


def test_require_says_what_to_install():
    with pytest.raises(
        ImportError, match=r'^Plotting needs no_such: pip install "aib-keras\[x\]"\.$'
    ):
        require("no_such.module", "Plotting", "x")


def test_a_missing_backend_says_what_to_install(monkeypatch):
    installed(monkeypatch)
    error = missing_backend(missing("torch"))
    assert str(error) == (
        'Keras is set to the torch backend, which is not installed: pip install "aib-keras[torch]".'
    )


def test_a_missing_backend_names_one_that_is_installed(monkeypatch):
    installed(monkeypatch, "jax")
    message = str(missing_backend(missing("tensorflow")))
    assert 'pip install "aib-keras[tensorflow]"' in message
    assert "KERAS_BACKEND=jax" in message


@pytest.mark.parametrize("name", ["keras", "tensorflow.python", None])
def test_another_failure_of_import_keras_stays(name):
    error = missing(name)
    assert missing_backend(error) is error
