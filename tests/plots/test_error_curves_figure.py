import numpy as np
import pytest

from aib_keras import plots


def test_lines_have_means_and_deviations_at_common_places():
    panels = [
        {
            "xlabel": "examples",
            "lines": {
                "vgg": {"100": [0.4, 0.6], "1,000": [0.2, 0.2]},
                "vgg_aib": {"1,000": [0.1, 0.3]},
            },
        },
        {"xlabel": "epsilon", "lines": {"vgg_aib": {"0": [0.5]}}},
    ]
    figure = plots.error_curves_figure(panels)
    first, second = figure.axes
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["100", "1,000"]
    (plain, _, [bars]), (bottleneck, _, _) = first.containers
    np.testing.assert_allclose(plain.get_xydata(), [[0, 50], [1, 20]])
    np.testing.assert_allclose(bottleneck.get_xydata(), [[1, 20]])
    ends = np.array(bars.get_segments())[:, :, 1]
    np.testing.assert_allclose(ends[0], [50 - 200**0.5, 50 + 200**0.5])
    assert (second.get_xlabel(), first.get_ylabel()) == ("epsilon", "error [%]")
    assert second.containers[0][0].get_color() == bottleneck.get_color() != plain.get_color()
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["vgg", "vgg_aib"]


def test_places_are_in_the_order_that_a_panel_gives():
    lines = {"vgg": {"100": [0.4], "1,000": [0.2]}, "vgg_aib": {"500": [0.3]}}
    panel = {"xlabel": "examples", "lines": lines, "places": ["100", "500", "1,000"]}
    (axis,) = plots.error_curves_figure([panel]).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == panel["places"]
    np.testing.assert_allclose(axis.containers[0][0].get_xydata()[:, 0], [0, 2])


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="`panels` is empty"):
        plots.error_curves_figure([])
