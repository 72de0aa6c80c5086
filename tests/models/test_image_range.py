"""The warning about images in [0, 1] where [0, 255] is expected."""

import warnings

import keras
import numpy as np
import pytest


@pytest.fixture
def unit_images(images):
    return images.astype("float32") / 255


def caught(action):
    """The range warnings that `action` gives."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        action()
    return [str(w.message) for w in found if "[0, 255]" in str(w.message)]


def test_images_between_0_and_1_are_warned_about_once(make_classifier, unit_images):
    model = make_classifier()

    def use():
        model(unit_images)
        model.explain(unit_images)
        model.predict(unit_images, verbose=0)
        model.predict_mc(unit_images, samples=1)
        model(unit_images)

    (message,) = caught(use)
    assert "255" in message
    assert "include_preprocessing=False" in message


@pytest.mark.parametrize("method", ["explain", "predict", "predict_mc", "fit", "evaluate"])
def test_every_way_in_warns(make_classifier, unit_images, method):
    model = make_classifier()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    targets = (np.arange(5) % 3,) if method in ("fit", "evaluate") else ()
    arguments = {} if method in ("explain", "predict_mc") else {"verbose": 0}
    assert len(caught(lambda: getattr(model, method)(unit_images, *targets, **arguments))) == 1


def test_normalised_images_are_warned_about(make_classifier, unit_images):
    assert len(caught(lambda: make_classifier()(unit_images * 4 - 2))) == 1


def test_images_up_to_255_are_not(make_classifier, images):
    model = make_classifier()
    for array in (images, images.astype("float32"), np.minimum(images, 1)):
        assert caught(lambda array=array: (model(array), model.explain(array))) == []


def test_models_without_preprocessing_take_any_range(make_classifier, unit_images):
    model = make_classifier(preprocessing=False)
    assert caught(lambda: (model(unit_images), model.explain(unit_images * 4 - 2))) == []


def test_images_in_the_right_range_before_do_not_hide_the_wrong_ones(
    make_classifier, images, unit_images
):
    model = make_classifier()
    assert caught(lambda: model(images)) == []
    assert len(caught(lambda: model.explain(unit_images))) == 1


def test_the_warning_points_at_the_callers_line(make_classifier, unit_images):
    model = make_classifier()
    with pytest.warns(UserWarning, match=r"\[0, 255\]") as found:
        model.explain(unit_images)
    assert [w.filename for w in found if "[0, 255]" in str(w.message)] == [__file__]
