"""Several trainings at the same time, as processes that do little."""

import sys
import time

import pytest
from absl import app

from aib_keras.experiments import sweep


def program(folder, name, text):
    code = f"import pathlib, time; pathlib.Path({str(folder / name)!r}).touch(); {text}"
    return sweep.Training((sys.executable, "-c", code), folder / f"run-{name}")


def test_after_a_failure_no_other_training_starts(tmp_path):
    trainings = [
        program(tmp_path, "slow", "time.sleep(2)"),
        program(tmp_path, "broken", "raise SystemExit('It is broken.')"),
        *(program(tmp_path, f"later{number}", "time.sleep(0.2)") for number in range(8)),
    ]
    started = time.time()
    with pytest.raises(sweep.TrainingFailedError, match="(?s)run-broken failed.*It is broken."):
        sweep.train(trainings, jobs=2)
    # What runs already is finished.
    assert time.time() - started > 1.5
    names = {path.name for path in tmp_path.iterdir()}
    assert {"slow", "broken"} <= names
    assert "later7" not in names


def test_with_one_job_the_next_training_does_not_start_after_a_failure(tmp_path):
    trainings = [
        program(tmp_path, "broken", "raise SystemExit(1)"),
        program(tmp_path, "later", ""),
    ]
    for _ in range(5):
        with pytest.raises(sweep.TrainingFailedError):
            sweep.train(trainings)
    assert not (tmp_path / "later").exists()


def test_after_an_interrupt_no_other_training_starts(tmp_path, monkeypatch):
    def interrupt(running):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep.concurrent.futures, "as_completed", interrupt)
    trainings = [program(tmp_path, str(number), "time.sleep(0.2)") for number in range(8)]
    with pytest.raises(KeyboardInterrupt):
        sweep.train(trainings)
    assert not (tmp_path / "7").exists()


def test_a_training_with_other_flags_is_not_taken_for_the_one_asked_for(tmp_path):
    def training(*flags):
        code = "import pathlib; pathlib.Path({!r}).mkdir(exist_ok=True)"
        command = (sys.executable, "-c", code.format(str(tmp_path / "run")), *flags)
        return sweep.Training(command, tmp_path / "run")

    first = training("--epochs=6", "--set=width=0.5", "--epochs=12", "--data_dir=here")
    sweep.train([first])
    sweep.train([training("--set=width=0.5", "--epochs=12", "--data_dir=there")])
    with pytest.raises(app.UsageError, match="trained with other flags: --epochs=12 in place of"):
        sweep.train([training("--set=width=0.5", "--epochs=6")])


def test_flags_are_the_same_in_either_form(tmp_path):
    given = ("--set", "width=0.1", "--epochs", "6", "--nesterov", "--nojit")
    joined = ("--set=width=0.1", "--epochs=6", "--nesterov", "--nojit")
    apart, together = (
        sweep.training(tmp_path, tmp_path / "run", "cifar10", "vgg", 0, flags=flags)
        for flags in (given, joined)
    )
    assert sweep._flags(apart) == sweep._flags(together)


def test_each_training_is_told_when_it_ends(tmp_path, capsys):
    sweep.train([program(tmp_path, name, "") for name in ("one", "two")])
    assert capsys.readouterr().out.splitlines() == [
        f"1 of 2: {tmp_path / 'run-one'}",
        f"2 of 2: {tmp_path / 'run-two'}",
    ]
