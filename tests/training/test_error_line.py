"""What a training prints after each epoch."""

import sys

from aib_keras.training.callbacks import ErrorLine


def test_a_terminal_shows_a_bar_that_the_line_replaces(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    line = ErrorLine(12, "held-out")
    line.set_params({"steps": 2})
    line.on_epoch_begin(4)
    line.on_train_batch_end(0, {"accuracy": 0.1})
    assert "1/2" in capsys.readouterr().out
    line.on_train_batch_end(1, {"accuracy": 0.2})
    assert "\n" not in capsys.readouterr().out
    line.on_epoch_end(4, {"accuracy": 0.75, "val_accuracy": 0.6, "loss": 3.0})
    out = capsys.readouterr().out
    assert out == "\r\x1b[KEpoch 5/12: training error 25.0 %, held-out error 40.0 %, 0 s\n"


def test_elsewhere_there_is_the_line_only(capsys):
    line = ErrorLine(2, "test")
    line.set_params({"steps": 2})
    line.on_epoch_begin(0)
    line.on_train_batch_end(0)
    line.on_epoch_end(0, {"accuracy": 0.75})
    assert capsys.readouterr().out == "Epoch 1/2: training error 25.0 %, 0 s\n"
