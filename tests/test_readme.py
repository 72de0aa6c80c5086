"""The Python code in README.md runs, block after block, as a reader would type it."""

import pathlib
import re

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("the README exports, which needs TensorFlow", allow_module_level=True)

README = pathlib.Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = README.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 5
    namespace = {}
    for block in blocks:
        # Empty lines in front, so that a traceback shows the line of README.md.
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(README), "exec"), namespace)
    for name in ("model.keras", "runs/mine/model.keras", "saved_model/saved_model.pb"):
        assert (tmp_path / name).exists()
