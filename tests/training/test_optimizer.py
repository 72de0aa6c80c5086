import keras
import numpy as np
import pytest

from aib_keras.training import CoupledSGD
from aib_keras.training.optimizer import AdamWithMultipliers


def run_steps(optimizer, start, gradients, name="kernel"):
    variable = keras.Variable(start, name=name)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    return keras.ops.convert_to_numpy(variable)


def reference(start, gradients, rates, momentum=0.9, decay=5e-4):
    weight, velocity = np.array(start, "float64"), 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = momentum * velocity + gradient + decay * weight
        weight = weight - rate * velocity
    return weight


START = np.array([1.0, -2.0, 0.5], "float32")
GRADIENTS = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")


def test_weight_decay_passes_through_the_momentum():
    result = run_steps(CoupledSGD(0.1), START, GRADIENTS)
    np.testing.assert_allclose(result, reference(START, GRADIENTS, [0.1] * 5), rtol=1e-5)


def test_a_new_learning_rate_takes_effect_at_once():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.001])
    result = run_steps(CoupledSGD(schedule), START, GRADIENTS)
    rates = [0.1, 0.1, 0.001, 0.001, 0.001]
    np.testing.assert_allclose(result, reference(START, GRADIENTS, rates), rtol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_agrees_with_pytorch(nesterov):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    weight = torch.nn.Parameter(torch.tensor(START))
    optimizer = torch.optim.SGD(
        [weight], lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=nesterov
    )
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    result = run_steps(CoupledSGD(0.1, nesterov=nesterov), START, GRADIENTS)
    np.testing.assert_allclose(result, weight.detach().numpy(), rtol=1e-5)


def test_multiplier_scales_the_rate_of_the_variable_it_names():
    optimizer = CoupledSGD(0.1, learning_rate_multipliers={"anchors": 1e-2})
    result = run_steps(optimizer, START, GRADIENTS, name="anchors")
    np.testing.assert_allclose(result, reference(START, GRADIENTS, [0.001] * 5), rtol=1e-5)
    optimizer = CoupledSGD(0.1, learning_rate_multipliers={"anchors": 1e-2})
    result = run_steps(optimizer, START, GRADIENTS, name="kernel")
    np.testing.assert_allclose(result, reference(START, GRADIENTS, [0.1] * 5), rtol=1e-5)


def test_adam_scales_the_rate_of_the_variable_it_names():
    for name, rate in (("anchors", 0.001), ("kernel", 0.1)):
        optimizer = AdamWithMultipliers(0.1, learning_rate_multipliers={"anchors": 1e-2})
        expected = run_steps(keras.optimizers.Adam(rate), START, GRADIENTS, name=name)
        found = run_steps(optimizer, START, GRADIENTS, name=name)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_whole_path_comes_before_its_last_component():
    optimizer = CoupledSGD(0.1, 0.0, 0.0, {"kernel": 2.0, "a/kernel": 3.0})
    with keras.name_scope("a"):
        variables = [keras.Variable(START, name="kernel")]
    variables.append(keras.Variable(START, name="kernel"))
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones((3,))] * 2)
    for variable, factor in zip(variables, (3.0, 2.0), strict=True):
        np.testing.assert_allclose(variable, START - 0.1 * factor, rtol=1e-5)


@pytest.mark.parametrize("optimizer_class", [CoupledSGD, AdamWithMultipliers])
def test_a_factor_for_each_variable(optimizer_class):
    variables = [keras.Variable(START, name="kernel") for _ in range(2)]
    optimizer = optimizer_class(0.1, learning_rate_multipliers=(0.0, 1.0))
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones((3,))] * 2)
    np.testing.assert_array_equal(variables[0], START)
    assert (np.array(variables[1]) != START).all()
    optimizer = optimizer_class(0.1, learning_rate_multipliers=[0.5])
    with pytest.raises(ValueError, match="1 `learning_rate_multipliers` and 2 trainable"):
        optimizer.build(variables)


def test_excluded_variables_do_not_decay():
    optimizer = CoupledSGD(0.1)
    optimizer.exclude_from_weight_decay(var_names=["gamma"])
    result = run_steps(optimizer, START, GRADIENTS, name="gamma")
    expected = reference(START, GRADIENTS, [0.1] * 5, decay=0.0)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [
        CoupledSGD(0.3, 0.8, 1e-3, {"anchors": 0.5}),
        AdamWithMultipliers(0.3, beta_1=0.5, learning_rate_multipliers={"anchors": 0.5}),
        AdamWithMultipliers(0.3, learning_rate_multipliers=[0.5, 1.0]),
    ],
)
def test_config_round_trip(optimizer):
    config = keras.optimizers.serialize(optimizer)
    restored = keras.optimizers.deserialize(config)
    assert isinstance(restored, type(optimizer))
    assert restored.get_config() == optimizer.get_config()


@pytest.mark.parametrize("arguments", [{"momentum": 1.0}, {"coupled_weight_decay": -1.0}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        CoupledSGD(0.1, **arguments)
