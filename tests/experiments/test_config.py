import dataclasses

import pytest

from aib_keras.experiments import TrainingConfig
from aib_keras.experiments.config import claim_workdir


def test_defaults_are_the_papers_and_pass():
    config = TrainingConfig()
    config.check()
    config = config.resolved()
    assert (config.epochs, config.batch_size, config.learning_rate) == (200, 128, 0.1)
    assert (config.optimizer, config.schedule) == ("sgd", "paper")
    assert (config.weight_decay, config.anchors_learning_rate) == (5e-4, 1e-4)


def test_short_trainings_take_adam_unless_told_otherwise():
    config = TrainingConfig(epochs=10).resolved()
    assert (config.optimizer, config.learning_rate, config.schedule) == ("adam", 0.002, "cosine")
    config = TrainingConfig(epochs=10, optimizer="sgd", learning_rate=0.05).resolved()
    assert (config.optimizer, config.learning_rate, config.schedule) == ("sgd", 0.05, "paper")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "vgg_aib_qd", "vgg_aib_qt"),
        ("epochs", 0, "epochs"),
        ("batch_size", 1, "batch_size"),
        ("held_out", -1, "held_out"),
        ("train_examples", 0, "train_examples"),
        ("learning_rate", float("nan"), "learning_rate"),
        ("augment", "mixup", "crop_flip"),
        ("schedule", "linear", "cosine"),
        ("optimizer", "lion", "adam"),
        ("precision", "float8", "mixed_bfloat16"),
        ("strategy", "tpu", "mirrored"),
        ("beta_warmup", (0.6, 0.1), "beta_warmup"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_expected(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TrainingConfig(), **{field: value}).check()


def test_workdir_of_another_configuration_is_refused_with_the_difference(tmp_path):
    workdir = tmp_path / "run"
    claim_workdir(workdir, TrainingConfig(seed=1))
    claim_workdir(workdir, TrainingConfig(seed=1))
    with pytest.raises(ValueError, match="seed: 1 there, 2 now"):
        claim_workdir(workdir, TrainingConfig(seed=2))


def test_workdir_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="not empty"):
        claim_workdir(tmp_path, TrainingConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
