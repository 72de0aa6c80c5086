"""The command `aib-keras`."""

import sys

import pytest

from aib_keras import main


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["aib-keras", *arguments])
    main.run()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("help",)])
def test_help_fits_a_screen_and_lists_every_command(arguments, monkeypatch, capsys):
    run(monkeypatch, *arguments)
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24
    for command in main._COMMANDS:
        assert f"aib-keras {command} " in text


def test_an_unknown_command_shows_those_that_there_are(monkeypatch):
    with pytest.raises(SystemExit, match=r"(?s)no command 'trian'.*aib-keras train"):
        run(monkeypatch, "trian")
