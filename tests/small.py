"""A training that takes seconds, for tests of what comes after one."""

from aib_keras.experiments import TrainingConfig


def small_config(**changes):
    """A `TrainingConfig` of a narrow `vgg_aib_qt` on a few cluttered digits, with changes."""
    defaults = {
        "model": "vgg_aib_qt",
        "dataset": "cluttered_digits",
        "train_split": "train[:64]",
        "test_split": "test[:32]",
        "epochs": 1,
        "batch_size": 32,
        "augment": "none",
        "prediction_samples": 0,
        "settings": {"width": 0.03, "latent_dim": 4},
    }
    return TrainingConfig(**{**defaults, **changes})
