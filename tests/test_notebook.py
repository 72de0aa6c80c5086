"""The notebooks run from top to bottom, and the outputs that they keep are small.

python tests/test_notebook.py     # runs them and keeps the new outputs
"""

import os
import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Lowest numbers of figures. An error of the last cells would leave fewer.
FIGURES = {"first_steps": 4, "own_photos": 1, "scores": 4}
_MOST_BYTES = 2**20


def run(path, folder):
    """Returns a notebook as it is after a run in a folder. Raises at the first cell that does."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        # Text of one cell that comes in several parts is one output.
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # What TensorFlow says of the machine.
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def figures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/jpeg" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < _MOST_BYTES
    assert figures(notebook) >= FIGURES[path.stem]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "google.colab" in code[0].source
    # All cells were run, one after the other.
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert not any(output.output_type == "error" for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert figures(run(path, tmp_path)) >= FIGURES[path.stem]


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for each in NOTEBOOKS:
        nbformat.write(run(each, each.parent), each)
        print(f"ran {each}")
