import io

import numpy as np

from aib_keras import metrics, plots


def test_the_figure_draws_all_classes_on_one_scale():
    explanation = {"logits": np.eye(3)[[0, 1, 2, 0]], "kl_nats": np.arange(4.0)}
    found = metrics.information(explanation, [0, 1, 2, 2], bins=4)
    figure = plots.information_figure(
        found.edges, found.count, found.mean, ("cat", "$1_$5", "bird"), "a model"
    )
    # Not as mathematics, which this is not.
    figure.savefig(io.BytesIO())
    meshes = [axis.collections[0] for axis in figure.axes if axis.get_title()]
    assert [mesh.get_clim() for mesh in meshes] == [(0, 100)] * 2
    above = figure.axes[0]
    assert above.get_xlabel() == "information in z [bits]"
    assert "3 images, mean 1.44 bits" in above.get_legend().get_texts()[0].get_text()
