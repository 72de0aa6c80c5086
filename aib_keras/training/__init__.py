"""Training of Keras classifiers: optimiser, schedules, checkpoints, devices."""

from aib_keras.training.callbacks import TrainingDivergedError
from aib_keras.training.optimizer import CoupledSGD
from aib_keras.training.schedule import BetaWarmup, learning_rate

__all__ = ["BetaWarmup", "CoupledSGD", "TrainingDivergedError", "learning_rate"]
