"""Scores and figures are imported without SciPy, scikit-learn and matplotlib, and ask for them."""

import subprocess
import sys

import numpy as np
import pytest

from aib_keras import metrics, plots

_IMPORTS = """
import sys

for package in ("scipy", "sklearn", "matplotlib"):
    sys.modules[package] = None

import aib_keras.explain, aib_keras.metrics, aib_keras.plots
"""


def test_nothing_optional_is_needed_to_import():
    result = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("module", "call", "message"),
    [
        ("scipy.stats", lambda: metrics.consistency(None, [], None), "`consistency` needs scipy"),
        ("scipy.ndimage", lambda: metrics.insertion(None, [], []), "`insertion` needs scipy"),
        ("sklearn.metrics", lambda: metrics.ood_auroc([0.1], [0.2]), "`ood_auroc` needs sklearn"),
        (
            "matplotlib.figure",
            lambda: plots.anchors_figure([{"anchors": np.ones(2)}]),
            "Plotting needs matplotlib",
        ),
    ],
)
def test_an_optional_package_that_is_missing_is_named(monkeypatch, module, call, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{message}: pip install "aib-keras\[train\]"'):
        call()
