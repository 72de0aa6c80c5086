import numpy as np

from aib_keras.plots import attention_figure

RNG = np.random.default_rng(0)


def test_a_row_for_images_and_one_for_each_map():
    images = RNG.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    explanation = {
        "logits": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
        "attention": RNG.random((3, 16, 16, 1)),
        "attention_quantized": RNG.random((3, 16, 16, 1)),
    }
    figure = attention_figure(images, explanation, [0, 0, 0], ("cat", "dog"))
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(drawn) == 9
    # The maps of a row share a scale, or their colours could not be compared.
    for row in (drawn[3:6], drawn[6:9]):
        assert len({axis.images[0].get_clim() for axis in row}) == 1
    assert [axis.get_title() for axis in drawn[:3]] == ["cat", "cat\n(as dog)", "cat"]
