"""The Python code in the README and the guides runs, block after block, as a reader types it."""

import pathlib
import re

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("the documents export, which needs TensorFlow", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Some of what the code has to leave.
FILES = {
    "README.md": ("model.keras", "runs/mine/model.keras", "saved_model/saved_model.pb"),
    "docs/guides/at_scale.md": ("digit_maps/part-00000.parquet",),
    "docs/guides/first_steps.md": ("maps.png",),
    "docs/guides/mobile.md": ("model.tflite",),
    "docs/guides/photos.md": ("photo-map.png",),
    "docs/guides/training.md": ("runs/masked/metrics.jsonl",),
    "serving/README.md": ("models/aib/1/saved_model.pb",),
}
PATHS = [ROOT / "README.md", ROOT / "serving" / "README.md", *(ROOT / "docs").rglob("*.md")]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in PATHS if BLOCK.search(path.read_text()))
# They train or export.
SLOW = {
    "README.md",
    "docs/guides/at_scale.md",
    "docs/guides/mobile.md",
    "docs/guides/training.md",
    "serving/README.md",
}


def test_these_documents_have_code():
    assert SLOW | set(FILES) < set(DOCUMENTS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in DOCUMENTS],
)
def test_the_blocks_run_one_after_the_other(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / name).read_text()
    namespace = {}
    for block in BLOCK.finditer(text):
        # Empty lines in front, so that a traceback shows the line of the document.
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(ROOT / name), "exec"), namespace)
    for file in FILES.get(name, ()):
        assert (tmp_path / file).exists()
