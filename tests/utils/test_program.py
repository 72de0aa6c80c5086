"""How programs read their flags."""

import os

import pytest
from absl import app, flags

from aib_keras.utils import program


@pytest.fixture(autouse=True)
def _flags(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    before = set(flags.FLAGS)
    flags.DEFINE_string("folder", "runs", "A folder.")
    flags.DEFINE_string("dataset", "photos", "A data set.")
    yield
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~/runs", "/home/me/runs"),
        ("~", "/home/me"),
        ("runs~", "runs~"),
        ("a=~/b", "a=~/b"),
    ],
)
def test_a_folder_can_be_at_home(given, expected):
    assert program.parse(["program", f"--folder={given}", "b=~/c"]) == ["program", "b=~/c"]
    assert flags.FLAGS.folder == expected == os.path.expanduser(given)


def test_a_data_set_stays_as_it_was_given():
    # It is in the configuration, which another call has to give again.
    program.parse(["program", "--dataset=~/photos"])
    assert flags.FLAGS.dataset == "~/photos"


def test_a_bad_flag_ends_the_program_with_its_message(capsys):
    with pytest.raises(SystemExit) as ended:
        program.parse(["program", "--foldre=runs"])
    assert ended.value.code == 1
    assert "Unknown command line flag 'foldre'. Did you mean: folder ?" in capsys.readouterr().err


def test_arguments_that_nothing_reads_are_refused():
    program.check_no_arguments(["program"])
    with pytest.raises(app.UsageError, match="Unknown arguments: vgg/cifar10. Settings are flags"):
        program.check_no_arguments(["program", "vgg/cifar10"])
