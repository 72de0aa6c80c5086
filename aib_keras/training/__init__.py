"""Training of any Keras classifier: `fit`, its callbacks, optimiser, schedules and devices."""

from aib_keras.training.beta_warmup import BetaWarmup
from aib_keras.training.callbacks import MapHistory, MetricsLog, read_map_history
from aib_keras.training.checkpoint import Checkpoint, StopOnNaN, TrainingDivergedError
from aib_keras.training.compiling import compile_classifier
from aib_keras.training.config import FitConfig
from aib_keras.training.device_strategies import SplitModel, devices
from aib_keras.training.fitting import fit
from aib_keras.training.optimizer import CoupledSGD
from aib_keras.training.recalibration import recalibrate
from aib_keras.training.schedule import learning_rate

__all__ = [
    "BetaWarmup",
    "Checkpoint",
    "CoupledSGD",
    "FitConfig",
    "MapHistory",
    "MetricsLog",
    "SplitModel",
    "StopOnNaN",
    "TrainingDivergedError",
    "compile_classifier",
    "devices",
    "fit",
    "learning_rate",
    "read_map_history",
    "recalibrate",
]
