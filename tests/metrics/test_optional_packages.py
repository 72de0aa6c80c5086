"""Scores and figures ask for SciPy, scikit-learn and matplotlib, which no import needs.

tests/test_import.py imports them without.
"""

import sys

import numpy as np
import pytest

from aib_keras import metrics, plots


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
