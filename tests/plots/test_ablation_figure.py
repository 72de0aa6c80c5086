import math

import numpy as np
import pytest

from aib_keras import plots


def test_the_ablation_figure_has_the_rate_beside_the_settings():
    rows = [
        {"setting": "beta", "value": 0.0, "error": 0.3, "error_sampled": 0.2, "kl_nats": 90.0},
        {"setting": "beta", "value": 0.01, "error": 0.2, "error_sampled": 0.2, "kl_nats": 10.0},
        {"setting": "beta", "value": 0.01, "error": 0.3, "error_sampled": 0.2, "kl_nats": 20.0},
        {"setting": "num_anchors", "value": 20, "error": 0.3, "kl_nats": 10.0},
    ]
    figure = plots.ablation_figure(rows, "digits", best={"beta": (0.01, 0.01)})
    beta, anchors, rate = figure.axes
    assert [tick.get_text() for tick in beta.get_xticklabels()] == ["0", "0.01"]
    assert (anchors.get_xlabel(), "bits" in rate.get_xlabel()) == ("num_anchors", True)
    (line,) = rate.lines
    np.testing.assert_allclose(line.get_xdata(), [90 / math.log(2), 15 / math.log(2)])
    np.testing.assert_allclose(line.get_ydata(), [30, 25])


def test_no_trainings_are_an_error():
    with pytest.raises(ValueError, match="`rows` is empty"):
        plots.ablation_figure([], "digits")
