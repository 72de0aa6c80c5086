"""recipes/figures.py on a small training and a small model."""

import shutil

import keras
import numpy as np
import pytest
from absl import flags
from PIL import Image, ImageSequence
from small import small_config, untrained_run

from aib_keras import data, explain
from aib_keras.training.callbacks import MapHistory, read_map_history

# Minutes, as a whole. CI runs the slow tests of recipes.
pytestmark = pytest.mark.slow

CONTINUOUS, QUANTISED = "cluttered_digits-vgg_aib-seed0", "cluttered_digits-vgg_aib_qt-seed0"


@pytest.fixture(scope="module")
def evaluation():
    return data.load("cluttered_digits", small_config().test_split)


@pytest.fixture(scope="module")
def runs(small_run, evaluation, tmp_path_factory):
    """Trainings of vgg_aib, which calls every image a 0, and of vgg_aib_qt, which says 1."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(small_run, folder / QUANTISED)
    untrained_run(folder / CONTINUOUS, model="vgg_aib", epochs=2)
    keep_maps_of_two_epochs(folder / CONTINUOUS, evaluation.images[:8])
    always_predict(0, folder / CONTINUOUS)
    always_predict(1, folder / QUANTISED)
    return folder


def keep_maps_of_two_epochs(workdir, images):
    model = keras.saving.load_model(workdir / "model.keras")
    maps = MapHistory(workdir / "maps", images)
    maps.set_model(model)
    maps.on_epoch_end(0)
    kernel = model.attention.head.kernel
    kernel.assign(-kernel)
    maps.on_epoch_end(1)


def always_predict(label, workdir):
    model = keras.saving.load_model(workdir / "model.keras")
    logits = model.decoder.get_layer("logits")
    logits.set_weights([0 * logits.kernel, np.eye(10, dtype="float32")[label]])
    model.save(workdir / "model.keras")


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("figures")


@pytest.fixture
def make(recipe, monkeypatch):
    """`make(runs, out)`: runs the recipe; the matplotlib figures that it saved, by file name."""
    figures, save = {}, recipe.save

    def record(figure, path):
        figures[path.name] = figure
        save(figure, path)

    monkeypatch.setattr(recipe, "save", record)

    def make(runs, out):
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["figures", f"--runs={runs}", "--dataset=cluttered_digits", f"--out={out}"])
        recipe.main([])
        return figures

    return make


def test_all_figures_show_what_the_models_do(runs, evaluation, tmp_path, make):
    figures = make(runs, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "fig3-color-window.png",
        "fig3-high-frequency.png",
        "fig3-low-frequency.png",
        "fig5.png",
        f"{QUANTISED}-anchors.png",
        f"{QUANTISED}-film.gif",
        f"{CONTINUOUS}-film.gif",
    }
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            assert min(image.size) > 100, path.name

    models = {
        name: keras.saving.load_model(runs / workdir / "model.keras")
        for name, workdir in (("vgg_aib", CONTINUOUS), ("vgg_aib_qt", QUANTISED))
    }
    images = evaluation.images[:3]
    check_perturbations(figures["fig3-low-frequency.png"], models, images, explain.LowPass(12))
    check_perturbations(figures["fig3-high-frequency.png"], models, images, explain.HighPass(4))
    check_quantization(figures["fig5.png"], models, evaluation)
    check_anchors(figures[f"{QUANTISED}-anchors.png"], runs / QUANTISED)
    for workdir in (QUANTISED, CONTINUOUS):
        check_film(tmp_path / f"{workdir}-film.gif")


def shown(axis):
    return np.asarray(axis.images[0].get_array())


def check_perturbations(figure, models, images, perturbation):
    """Originals and modified images, three of them, in the first column; a column per model."""
    modified = perturbation(images)
    grid = np.array(figure.axes[: 6 * 3]).reshape(6, 3)
    for index in range(3):
        np.testing.assert_array_equal(shown(grid[2 * index, 0]), images[index])
        np.testing.assert_array_equal(shown(grid[2 * index + 1, 0]), modified[index])
    titles = [axis.get_title() for axis in grid[0, 1:]]
    assert sorted(titles) == sorted(models)
    for column, name in enumerate(titles, start=1):
        for row, inputs in enumerate((images, modified)):
            maps = models[name].explain(inputs)["attention"]
            for index in range(3):
                found = shown(grid[2 * index + row, column])
                np.testing.assert_allclose(found, maps[index, ..., 0], atol=1e-6)


def check_quantization(figure, models, evaluation):
    """The images that vgg_aib gets wrong and vgg_aib_qt right: here the ones, six at most."""
    images = evaluation.images[evaluation.labels == 1][:6]
    count = len(images)
    assert count > 1
    grid = np.array(figure.axes[: 3 * count]).reshape(3, count)
    continuous = models["vgg_aib"].explain(images)["attention"]
    quantized = models["vgg_aib_qt"].explain(images)["attention_quantized"]
    for index, (image, above, below) in enumerate(grid.T):
        np.testing.assert_array_equal(shown(image), images[index])
        np.testing.assert_allclose(shown(above), continuous[index, ..., 0], atol=1e-6)
        np.testing.assert_allclose(shown(below), quantized[index, ..., 0], atol=1e-6)
        assert "0" in above.get_title().split()[0]
        assert "1" in below.get_title().split()[0]


def check_anchors(figure, workdir):
    history = read_map_history(workdir / "maps")
    lines = np.stack([line.get_ydata() for line in figure.axes[0].lines], axis=-1)
    np.testing.assert_array_equal(lines, [np.sort(epoch["anchors"]) for epoch in history])


def check_film(path):
    """A frame per epoch, each with other maps."""
    with Image.open(path) as film:
        frames = [np.asarray(frame.convert("L"), "int") for frame in ImageSequence.Iterator(film)]
    assert len(frames) == 2
    # Below the title, which counts the epochs.
    assert np.abs(frames[0] - frames[1])[60:].max() > 5


def test_without_an_image_for_figure_5_the_recipe_says_so(
    runs, recipe, evaluation, tmp_path, capsys
):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["figures"])
    same = keras.saving.load_model(runs / CONTINUOUS / "model.keras")
    recipe.quantization({"vgg_aib": same, "vgg_aib_qt": same}, evaluation, tmp_path)
    assert "No fig5.png: vgg_aib_qt is right on no image" in capsys.readouterr().out
    assert not (tmp_path / "fig5.png").exists()
