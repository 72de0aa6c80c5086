"""notebooks/explore.ipynb runs from top to bottom."""

import pathlib

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = pathlib.Path(__file__).parents[1] / "notebooks" / "explore.ipynb"


def test_the_notebook_runs_on_a_small_training(small_run, tmp_path, monkeypatch):
    Image.new("RGB", (50, 40), "teal").save(tmp_path / "mine.png")
    monkeypatch.setenv("AIB_KERAS_RUN", str(small_run))
    monkeypatch.setenv("AIB_KERAS_IMAGE", str(tmp_path / "mine.png"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    # Raises at the first cell that does.
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
