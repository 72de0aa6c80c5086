"""Files of old versions of PyTorch, read without it and compared with what it reads itself."""

import collections
import pickle
import sys

import numpy as np
import pytest

from aib_keras.zoo import legacy_torch
from aib_keras.zoo.torch_checkpoint import read_state


def save(content, path):
    torch = pytest.importorskip("torch")
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def state():
    torch = pytest.importorskip("torch")
    values = torch.arange(24.0).reshape(2, 3, 4)
    return collections.OrderedDict(
        whole=values,
        part=values[1, :, 1:3],
        turned=values.permute(2, 0, 1),
        half=values.half(),
        count=torch.tensor(7),
        none=torch.zeros(0, 3),
        flags=torch.tensor([True, False]),
    )


def test_it_reads_what_pytorch_reads(state, tmp_path, monkeypatch):
    path = save({"state_dict": state, "epoch": 3}, tmp_path / "old.pth")
    assert legacy_torch.is_legacy(path)
    assert legacy_torch.read(path)["epoch"] == 3
    # From here on, nothing can import it.
    expected = {name: value.numpy() for name, value in state.items()}
    monkeypatch.setitem(sys.modules, "torch", None)
    found = read_state(path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_what_it_does_not_know_is_left_to_pytorch(state, tmp_path):
    torch = pytest.importorskip("torch")
    path = save({"weight": torch.nn.Parameter(state["whole"])}, tmp_path / "parameter.pth")
    with pytest.raises(legacy_torch.UnsupportedError, match="_rebuild_parameter"):
        legacy_torch.read(path)
    found = read_state(save({"weight": state["whole"], "device": torch.device("cpu")}, path))
    np.testing.assert_array_equal(found["weight"], state["whole"])


def test_a_damaged_file_is_an_error_that_names_it(state, tmp_path):
    path = save(state, tmp_path / "cut.pth")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"cut\.pth.*ends before its tensors do"):
        read_state(path)


class Attack:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit",)


def forged(path, content):
    """Writes a file of this format without tensors."""
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        pickle.dump(content, file, protocol=2)
        pickle.dump([], file, protocol=2)
    return path


def test_code_in_a_file_does_not_run(tmp_path):
    path = forged(tmp_path / "attack.pth", {"weight": Attack()})
    with pytest.raises(legacy_torch.UnsupportedError, match=r"builtins\.exec|__builtin__\.exec"):
        legacy_torch.read(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (2, (3,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (3, 1)), (0, (9, 9), (0, 0))],
)
def test_a_tensor_must_lie_in_its_storage(offset, shape, strides):
    with pytest.raises(ValueError, match="is not in its storage"):
        legacy_torch._array(np.zeros(4, "float32"), offset, shape, strides)
