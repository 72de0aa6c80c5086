"""What recipes share: configuration, optimiser, schedules, resume, devices."""

from aib_keras.training import recipe
from aib_keras.training.callbacks import TrainingDivergedError
from aib_keras.training.config import TrainingConfig
from aib_keras.training.engine import train
from aib_keras.training.examples import load_data, load_evaluation
from aib_keras.training.optimizer import CoupledSGD
from aib_keras.training.schedule import BetaWarmup, learning_rate

__all__ = [
    "BetaWarmup",
    "CoupledSGD",
    "TrainingConfig",
    "TrainingDivergedError",
    "learning_rate",
    "load_data",
    "load_evaluation",
    "recipe",
    "train",
]
