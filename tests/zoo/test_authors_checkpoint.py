"""The reader of the authors' checkpoints, on small models; full size is in test_golden.py."""

import numpy as np
import pytest
from golden.reference_weights import draw_state, read_shapes
from keras import ops

from aib_keras import zoo


def small_vgg():
    return zoo.vgg_aib_qt(width=0.125, latent_dim=32)


def small_wrn():
    return zoo.wrn_aib_qt(width=0.0625, latent_dim=32)


def small_state(name, channels, factor):
    """Tensors of a narrow model: `channels` are those of the full one that shrink by `factor`."""
    shapes = {
        tensor: tuple(size // factor if size in channels else size for size in shape)
        for tensor, shape in read_shapes(f"{name}_c10").items()
    }
    return draw_state(shapes, seed=0)


@pytest.fixture
def vgg_state():
    return small_state("vgg_aib_qt", {64, 128, 256, 512}, 8)


@pytest.fixture
def wrn_state():
    return small_state("wrn_aib_qt", {16, 160, 320, 640, 512, 1024}, 16)


def weights(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def assert_vgg_loaded(model, state):
    kernel = ops.convert_to_numpy(model.feature_extractor.get_layer("block1_conv2").kernel)
    np.testing.assert_array_equal(kernel, state["features.0.op.3.weight"].transpose(2, 3, 1, 0))
    dense = ops.convert_to_numpy(model.encoder.linear.kernel)
    np.testing.assert_array_equal(dense, state["encode.8.weight"].T)
    anchors = ops.convert_to_numpy(model.attention.quantizer.anchors)
    np.testing.assert_array_equal(anchors, state["emb.weight"][0])
    assert_every_tensor_is_loaded(model, state)


def assert_every_tensor_is_loaded(model, state):
    """Every tensor is in the model, and only beta is not in the checkpoint."""
    sums = sorted(float(np.sum(np.abs(value), dtype="float64")) for value in state.values())
    found = [w for w in model.weights if w is not model.encoder.beta]
    ours = sorted(float(np.sum(np.abs(ops.convert_to_numpy(w)), dtype="float64")) for w in found)
    np.testing.assert_allclose(ours, sums, rtol=1e-6)


def test_a_mapping(vgg_state):
    model = small_vgg()
    zoo.load_authors_checkpoint(model, vgg_state)
    assert_vgg_loaded(model, vgg_state)


def test_wide_resnet_ignores_the_leftovers_and_nothing_else(wrn_state):
    model = small_wrn()
    zoo.load_authors_checkpoint(model, wrn_state)
    stem = ops.convert_to_numpy(model.feature_extractor.get_layer("stem").kernel)
    np.testing.assert_array_equal(stem, wrn_state["conv1.weight"].transpose(2, 3, 1, 0))
    with pytest.raises(ValueError, match="not in the model: block4"):
        zoo.load_authors_checkpoint(model, {**wrn_state, "block4.weight": np.zeros(3)})


def test_wide_resnet_without_the_leftovers(wrn_state):
    unused = ("block3.", "bn1.", "att_block3.", "bn_att", "att_conv")
    used = {name: value for name, value in wrn_state.items() if not name.startswith(unused)}
    assert len(used) < len(wrn_state)
    model, of_all = small_wrn(), small_wrn()
    zoo.load_authors_checkpoint(model, used)
    assert_every_tensor_is_loaded(model, used)
    zoo.load_authors_checkpoint(of_all, wrn_state)
    for found, expected in zip(weights(model), weights(of_all), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model_states": {"net": state}, "epoch": 3},
        lambda state: {"state_dict": state, "best": 0.9},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {"model_states": {"net": {f"module.{n}": v for n, v in state.items()}}},
    ],
    ids=["bare", "model_states", "state_dict", "module", "model_states-module"],
)
@pytest.mark.parametrize("from_file", [False, True], ids=["mapping", "file"])
def test_wrappers(wrap, from_file, vgg_state, tmp_path):
    counters = {"features.0.op.1.num_batches_tracked": np.array(5)}
    state = wrap({**vgg_state, **counters})
    if from_file:
        torch = pytest.importorskip("torch")
        state = wrap({n: torch.tensor(v) for n, v in {**vgg_state, **counters}.items()})
        torch.save(state, tmp_path / "checkpoint.pt")
        state = tmp_path / "checkpoint.pt"
    model = small_vgg()
    zoo.load_authors_checkpoint(model, state)
    assert_vgg_loaded(model, vgg_state)


def test_a_path_may_be_a_string(vgg_state, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({n: torch.tensor(v) for n, v in vgg_state.items()}, tmp_path / "checkpoint.pt")
    model = small_vgg()
    zoo.load_authors_checkpoint(model, str(tmp_path / "checkpoint.pt"))
    assert_vgg_loaded(model, vgg_state)


def test_tensors_of_torch_in_a_mapping(vgg_state):
    torch = pytest.importorskip("torch")
    model = small_vgg()
    tensors = {name: torch.tensor(value) for name, value in vgg_state.items()}
    zoo.load_authors_checkpoint(model, tensors)
    assert_vgg_loaded(model, vgg_state)


def test_everything_wrong_is_named_and_the_model_unchanged(vgg_state):
    model = small_vgg()
    before = weights(model)
    del vgg_state["decode.0.bias"], vgg_state["features.1.op.4.running_var"]
    vgg_state["extra.weight"] = np.zeros((2, 3))
    vgg_state["another.bias"] = np.zeros(4)
    vgg_state["decode.2.weight"] = np.zeros((100, 32), "float32")
    vgg_state["emb.weight"] = np.zeros((1, 50), "float32")
    with pytest.raises(ValueError, match="vgg_aib_qt") as error:
        zoo.load_authors_checkpoint(model, vgg_state)
    message = str(error.value)
    for expected in (
        "missing: decode.0.bias",
        "missing: features.1.op.4.running_var",
        "not in the model: extra.weight",
        "not in the model: another.bias",
        "shape: decode.2.weight is (100, 32)",
        "shape: emb.weight is (1, 50)",
    ):
        assert expected in message
    for value, found in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(found, value)


def test_a_tensor_of_another_rank_is_a_shape_problem(vgg_state):
    vgg_state["features.0.op.0.weight"] = np.zeros((8, 27), "float32")
    vgg_state["decode.0.weight"] = np.zeros((32, 32, 1, 1), "float32")
    vgg_state["decode.2.weight"] = np.zeros(320, "float32")
    with pytest.raises(
        ValueError, match=r"(?s)shape: features\.0\.op\.0.*shape: decode\.0"
    ) as error:
        zoo.load_authors_checkpoint(small_vgg(), vgg_state)
    assert "shape: decode.2.weight" in str(error.value)


def test_the_checkpoint_of_another_model_does_not_fit(vgg_state, wrn_state):
    with pytest.raises(ValueError, match="(?s)does not fit vgg_aib.*not in the model: emb.weight"):
        zoo.load_authors_checkpoint(zoo.vgg_aib(width=0.125, latent_dim=32), vgg_state)
    with pytest.raises(ValueError, match="missing: features.0.op.0.weight"):
        zoo.load_authors_checkpoint(small_vgg(), wrn_state)


def test_a_model_that_the_authors_do_not_have():
    with pytest.raises(ValueError, match="(?s)'wrn'.*vgg_aib_qt"):
        zoo.load_authors_checkpoint(zoo.wrn(width=0.025), {})


def test_an_empty_checkpoint_and_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="missing"):
        zoo.load_authors_checkpoint(small_vgg(), {})
    with pytest.raises(ValueError, match="no checkpoint file"):
        zoo.load_authors_checkpoint(small_vgg(), tmp_path / "none.pt")


def test_a_file_that_torch_did_not_write_is_a_value_error_that_names_it(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"broken\.pt"):
        zoo.load_authors_checkpoint(small_vgg(), tmp_path / "broken.pt")
