import keras
import numpy as np
import pytest

from aib_keras.experiments.paper_schedules import paper_stages
from aib_keras.layers import VariationalEncoder
from aib_keras.training import BetaWarmup, learning_rate

STEPS = 10


def rates_by_epoch(stages, epochs=200, schedule="steps"):
    """The rate at the first and at the last step of each epoch."""
    rate = learning_rate(schedule, 0.1, epochs * STEPS, stages)
    value = rate if callable(rate) else lambda step: rate
    return [
        (float(value(epoch * STEPS)), float(value(epoch * STEPS + STEPS - 1)))
        for epoch in range(epochs)
    ]


# SPEC section 3.
@pytest.mark.parametrize(
    ("model_name", "expected"),
    [
        ("vgg", {0: 0.1, 24: 0.1, 25: 0.05, 50: 0.025, 199: 0.1 * 0.5**7}),
        ("vgg_aib", {0: 0.01, 1: 0.1, 24: 0.1, 25: 0.05, 175: 0.1 * 0.5**7}),
        ("vgg_aib_qt", {0: 1e-4, 1: 1e-3, 2: 1e-2, 3: 0.1, 25: 0.05}),
        ("wrn_aib_qt", {0: 0.1, 59: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008, 199: 0.0008}),
    ],
)
def test_the_papers_schedules(model_name, expected):
    rates = rates_by_epoch(paper_stages(model_name))
    for epoch, rate in expected.items():
        np.testing.assert_allclose(rates[epoch], rate, rtol=1e-5, err_msg=f"epoch {epoch}")


def test_the_schedule_on_cub_falls_every_second_epoch():
    rates = rates_by_epoch((), schedule="exponential")
    for epoch in (0, 1, 2, 3, 10, 199):
        np.testing.assert_allclose(rates[epoch], 0.1 * 0.97 ** (epoch // 2), rtol=1e-5)
    short = rates_by_epoch((), epochs=20, schedule="exponential")
    np.testing.assert_allclose(short[19][1], rates[199][1], rtol=1e-5)
    for steps in (149, 150):
        rate = learning_rate("exponential", 0.1, steps)
        assert float(rate(steps - 1)) == pytest.approx(0.1 * 0.97**99, rel=0.04)


def test_the_papers_schedule_scales_with_the_epochs():
    full, short = (rates_by_epoch(paper_stages("wrn"), epochs) for epochs in (200, 20))
    np.testing.assert_allclose([first for first, _ in full[::10]], [first for first, _ in short])


def test_a_stage_too_short_for_a_step_is_left_out():
    rates = rates_by_epoch(paper_stages("vgg_aib_qt"), epochs=2)
    assert rates[0][0] == pytest.approx(0.1)


@pytest.mark.parametrize(("name", "highest"), [("cosine", 10), ("one_cycle", 60)])
def test_the_rate_rises_and_falls_to_nearly_nothing(name, highest):
    schedule = learning_rate(name, 0.1, 20 * STEPS)
    rates = np.array([float(schedule(step)) for step in range(200)])
    assert rates.max() == pytest.approx(0.1, rel=1e-3)
    assert rates.argmax() == pytest.approx(highest, abs=1)
    assert np.all(np.diff(rates[: highest - 1]) > 0)
    assert np.all(np.diff(rates[highest + 1 :]) <= 0)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linear", 0.1, 1), "'cosine' or 'one_cycle' or 'constant' or 'steps' or 'exponential'"),
        (("cosine", 0.1, -10), "`steps` must be an integer of at least 1"),
        (("constant", -0.1, 1), "`base` must be a finite number of at least 0"),
        (("steps", 0.1, 1), "needs stages"),
    ],
)
def test_bad_schedules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(*arguments)


def beta_in_epochs(epochs, **arguments):
    model = keras.Sequential([keras.Input((3,)), VariationalEncoder(2, beta=0.01)])
    callback = BetaWarmup(epochs, **arguments)
    callback.set_model(model)
    callback.on_train_begin()
    values = []
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        values.append(float(keras.ops.convert_to_numpy(model.layers[0].beta)))
    return values


def test_a_model_without_an_encoder_is_refused():
    callback = BetaWarmup(3)
    callback.set_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="needs a model with a VariationalEncoder"):
        callback.on_train_begin()


def test_beta_rises_linearly_between_start_and_end():
    values = beta_in_epochs(10, start=0.2, end=0.6)
    expected = [0, 0, 0, 0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01, 0.01]
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_no_warm_up_has_the_full_beta_from_the_first_epoch():
    np.testing.assert_allclose(beta_in_epochs(3, start=0.0, end=0.0), [0.01] * 3, rtol=1e-6)


def test_a_rise_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="start=0.5, end=0.1"):
        beta_in_epochs(3, start=0.5, end=0.1)
