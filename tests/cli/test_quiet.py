"""What is left of the log of TensorFlow's start."""

import os

import pytest

from aib_cli import quiet

LOG = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795688473.458019    2132 cudart_stub.cc:31] Could not find cuda drivers.
E0000 00:00:1795688473.458019    2132 some.cc:1] An error.
A warning of Python.
"""


@pytest.fixture
def level(monkeypatch):
    """Restores the variable afterwards."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    return monkeypatch


def test_only_informational_lines_are_dropped(level, capfd):
    level.delenv("TF_CPP_MIN_LOG_LEVEL")
    with quiet.startup():
        os.write(2, LOG.encode())
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    os.write(2, b"Later.\n")
    error = capfd.readouterr().err
    assert [line.split()[0] for line in error.splitlines()] == ["E0000", "A", "Later."]


def test_a_level_that_the_user_has_set_stays(level, capfd):
    with quiet.startup():
        os.write(2, LOG.encode())
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert capfd.readouterr().err == LOG
