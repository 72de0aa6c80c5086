"""Which precision "auto" chooses, and that a resumed training keeps it."""

import types

import keras
import pytest
from small import small_config

from aib_keras.experiments import TrainingConfig, train
from aib_keras.training import precision


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """`cpu(flags)`: makes this machine one without an accelerator, whose CPU has these flags."""
    monkeypatch.setattr(precision, "has_accelerator", lambda: False)
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "_CPU_INFO", path)
    return lambda flags: path.write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\n")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f avx512_bf16", True),
        ("fpu amx_bf16", True),
        ("fpu avx2 avx512f", False),
        ("", False),
    ],
)
def test_bfloat16_only_where_the_cpu_has_it(cpu, flags, expected):
    cpu(flags)
    bfloat16 = expected and keras.backend.backend() == "tensorflow"
    found = precision.resolve_precision("auto")
    assert found == ("mixed_bfloat16" if bfloat16 else "float32")
    assert precision.resolve_precision("mixed_float16") == "mixed_float16"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ("7.5", "float32"),
        ("8.0", "mixed_bfloat16"),
        (None, "mixed_bfloat16"),
        ("gfx90a:sramecc+", "mixed_bfloat16"),
    ],
)
def test_bfloat16_only_where_the_accelerator_has_it(monkeypatch, capability, expected):
    if keras.backend.backend() == "torch":
        pytest.skip("no accelerator is looked for on torch")
    monkeypatch.setattr(precision, "has_accelerator", lambda: True)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # TensorFlow has numbers, or nothing.
        is_number = capability and capability[0].isdigit()
        numbers = tuple(map(int, capability.split("."))) if is_number else None
        details = {"compute_capability": numbers} if numbers else {}
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    else:
        import jax

        device = types.SimpleNamespace(compute_capability=capability)
        monkeypatch.setattr(jax, "devices", lambda: [device])
    assert precision.resolve_precision("auto") == expected


def test_without_cpuinfo_it_is_float32(cpu):
    # As on macOS and Windows: nothing was written.
    assert precision.resolve_precision("auto") == "float32"


def test_bfloat16_on_an_accelerator(cpu, monkeypatch):
    cpu("fpu")
    monkeypatch.setattr(precision, "has_accelerator", lambda: True)
    assert precision.resolve_precision("auto") == "mixed_bfloat16"


def test_a_resolved_configuration_names_the_precision(cpu):
    cpu("fpu")
    config = TrainingConfig().resolved()
    assert config.precision == "float32"
    # On a machine that would choose otherwise.
    cpu("avx512_bf16")
    assert TrainingConfig.from_json(config.to_json()).resolved().precision == "float32"


@pytest.mark.tensorflow("On other backends, CPUs train in float32.")
def test_a_resumed_training_keeps_the_precision_that_auto_chose(cpu, tmp_path):
    cpu("fpu")
    config = small_config(epochs=1)
    assert config.precision == "auto"
    train(config, tmp_path / "run", verbose=0)
    # On a machine that would choose otherwise.
    cpu("avx512_bf16")
    result = train(config, tmp_path / "run", verbose=0)
    assert result["config"]["precision"] == "float32"


@pytest.mark.tensorflow("The options are those of TensorFlow.")
def test_onednn_computes_in_bfloat16_only_with_that_policy(cpu):
    import tensorflow as tf

    name = "auto_mixed_precision_onednn_bfloat16"
    cpu("avx512_bf16")
    for policy, expected in (("mixed_bfloat16", True), ("float32", False)):
        with precision.fast_kernels(policy):
            assert tf.config.optimizer.get_experimental_options()[name] == expected
        # What is computed after a training is computed as before.
        assert not tf.config.optimizer.get_experimental_options()[name]
