"""What recipes share: command line, runs by name, result files, sweeps, cards, tables."""

from aib_keras.experiments import (
    cards,
    command_line,
    markdown,
    measured,
    results,
    sweep,
    tables,
)
from aib_keras.experiments.config import TrainingConfig
from aib_keras.experiments.examples import load_data, load_evaluation
from aib_keras.experiments.run import train

__all__ = [
    "TrainingConfig",
    "cards",
    "command_line",
    "load_data",
    "load_evaluation",
    "markdown",
    "measured",
    "results",
    "sweep",
    "tables",
    "train",
]
