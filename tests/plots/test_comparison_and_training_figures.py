import numpy as np
import pytest
from PIL import Image

from aib_keras import plots


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def explanation(rng, count=2):
    return {
        "logits": np.eye(3)[[0, 2][:count]],
        "attention": rng.random((count, 4, 4, 1)),
        "attention_quantized": rng.random((count, 4, 4, 1)),
    }


def texts(figure):
    return [t.get_text() for axes in figure.axes for t in (axes.title, axes.xaxis.label)]


def test_perturbation_figure_shows_the_cosine_of_each_pair(rng):
    images = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    before = explanation(rng)
    turned = {**before, "attention": before["attention"] * 3}
    other = {**before, "attention": np.zeros((2, 4, 4, 1))}
    other["attention"][:, 0, 0] = 1.0
    alone = {**before, "attention": np.roll(other["attention"], 1, axis=1)}
    figure = plots.perturbation_figure(
        images, images, {"same": (before, turned), "elsewhere": (other, alone)}
    )
    found = texts(figure)
    assert found.count("cosine 1.00") == 2
    assert found.count("cosine 0.00") == 2
    assert {"same", "elsewhere"} <= set(found)
    # Each model has one scale for all of its maps.
    scales = {axes.images[0].get_clim() for axes in figure.axes if axes.images}
    assert {(0, 1), (before["attention"].min(), turned["attention"].max())} <= scales


def test_perturbation_figure_agrees_with_map_similarity_about_maps_of_zeros(rng):
    images = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    zeros = {"attention": np.zeros((1, 4, 4, 1))}
    figure = plots.perturbation_figure(images, images, {"none": (zeros, zeros)})
    assert "cosine 1.00" in texts(figure)


def test_quantization_figure_names_the_classes(rng):
    images = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    figure = plots.quantization_figure(
        images, np.array([1, 2]), ("ant", "bee", "cat"), explanation(rng), explanation(rng)
    )
    titles = [axes.get_title() for axes in figure.axes[:6]]
    assert titles == ["bee", "cat", "ant", "cat", "ant", "cat"]


def test_film_has_a_frame_per_epoch_and_they_differ(rng, tmp_path):
    images = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    history = [explanation(rng) for _ in range(3)]
    plots.save_film(tmp_path / "film.gif", images, history)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3
        frames = []
        for index in range(3):
            film.seek(index)
            frames.append(np.asarray(film.convert("RGB")))
    assert not np.array_equal(frames[0], frames[1])


def test_anchors_figure_draws_every_anchor(rng):
    history = [{"anchors": rng.random(5)} for _ in range(4)]
    (axes,) = plots.anchors_figure(history).axes
    assert len(axes.lines) == 5
    for number, line in enumerate(axes.lines):
        expected = [epoch["anchors"][number] for epoch in history]
        np.testing.assert_allclose(line.get_ydata(), expected)


def test_a_history_without_what_is_asked_for_is_refused(rng, tmp_path):
    with pytest.raises(ValueError, match="history` is empty"):
        plots.anchors_figure([])
    with pytest.raises(ValueError, match="no 'anchors'.*attention"):
        plots.anchors_figure([explanation(rng)])
    with pytest.raises(ValueError, match="no 'anchor' .*Did you mean 'anchors'"):
        plots.save_film(
            tmp_path / "film.gif", np.zeros((1, 8, 8, 3), "uint8"), [{"anchors": 1}], "anchor"
        )
    with pytest.raises(ValueError, match="no 'heat'"):
        plots.save_film(tmp_path / "film.gif", np.zeros((1, 8, 8, 3), "uint8"), [{}], "heat")
