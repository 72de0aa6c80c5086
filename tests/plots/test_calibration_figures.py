import numpy as np
import pytest

from aib_keras import metrics, plots


def test_figures_have_a_panel_per_model_and_units():
    probabilities, labels = np.array([[0.9, 0.1], [0.6, 0.4]]), [0, 1]
    diagram = metrics.reliability(probabilities, labels)
    curve = metrics.risk_coverage(probabilities, labels)
    models = {"vgg": {"deterministic": diagram}, "vgg_aib": {"deterministic": diagram}}
    figure = plots.reliability_figure(models)
    assert [axis.get_title() for axis in figure.axes] == ["vgg", "vgg_aib"]
    assert "ECE 35.0 %" in figure.axes[0].get_legend().get_texts()[0].get_text()
    series = {"deterministic": curve, "sampled": curve}
    # The diagonal alone is a line.
    (axis,) = plots.reliability_figure({"vgg": {"deterministic": diagram}}, join=False).axes
    assert len(axis.lines) == 1
    assert len(axis.collections) == 1
    figure = plots.risk_coverage_figure({str(n): series for n in range(5)})
    assert len(figure.axes) == 5
    assert figure.axes[0].get_ylabel() == "error on these [%]"


@pytest.mark.parametrize("figure", [plots.reliability_figure, plots.risk_coverage_figure])
def test_no_models_are_an_error(figure):
    with pytest.raises(ValueError, match="`models` is empty"):
        figure({})
