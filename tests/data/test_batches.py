import keras
import numpy as np
import pytest

from aib_keras.data import AugmentedBatches, CropFlip, ImageData
from aib_keras.training.callbacks import SetEpoch


def coordinates(n, height=12, width=10):
    """Images whose pixels say where they are: (y, x, number of the image)."""
    y, x = np.mgrid[:height, :width]
    images = np.empty((n, height, width, 3), np.uint8)
    images[..., 0], images[..., 1] = y, x
    images[..., 2] = np.arange(n)[:, None, None] % 256
    return images


def make(n=50):
    labels = np.arange(n, dtype=np.int32)
    return ImageData(coordinates(n), labels, tuple(map(str, range(n))))


def all_of(batches):
    images, labels = zip(*[batches[i] for i in range(len(batches))], strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize("flip", [True, False])
def test_every_pixel_is_a_reflected_source(flip):
    images, pad = coordinates(200), 3
    result = CropFlip(pad, flip)(images, np.random.default_rng(0))
    assert result.dtype == np.uint8
    assert result.shape == images.shape
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    seen = set()
    for source, crop in zip(padded, result, strict=True):
        matches = [
            (y, x, mirrored)
            for y in range(2 * pad + 1)
            for x in range(2 * pad + 1)
            for mirrored in ([False, True] if flip else [False])
            if (source[y : y + 12, x : x + 10][:, :: -1 if mirrored else 1] == crop).all()
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    rows, columns, mirrored = map(set, zip(*seen, strict=True))
    assert rows == columns == set(range(2 * pad + 1))
    assert mirrored == ({False, True} if flip else {False})


def test_flips_half():
    images = coordinates(4000)
    result = CropFlip(0)(images, np.random.default_rng(0))
    mirrored = result[:, 0, 0, 1] == 9
    np.testing.assert_array_equal(result[~mirrored], images[~mirrored])
    assert 0.46 < mirrored.mean() < 0.54


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": -1}, "`padding` must be an integer of at least 0, got -1"),
        ({"padding": True}, "`padding` must be"),
        ({"flip": "no"}, "`flip` must be True or False, got 'no'"),
        ({"size": (0, 0)}, r"`size` must be .*, got \(0, 0\)"),
        ({"size": (8, 8, 3)}, "`size` must be"),
    ],
)
def test_crop_flip_checks_its_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CropFlip(**arguments)


def test_crop_flip_takes_integers_of_numpy():
    augment = CropFlip(np.int64(0), np.bool_(False), size=(np.int64(9), np.int32(8)))
    assert augment(coordinates(2), np.random.default_rng(0)).shape == (2, 9, 8, 3)


def test_crop_flip_refuses_padding_beyond_the_image():
    with pytest.raises(ValueError, match="12x10 images by 10"):
        CropFlip(10)(coordinates(2), np.random.default_rng(0))


@pytest.mark.parametrize("flip", [True, False])
def test_smaller_crops_are_windows_at_every_place(flip):
    images, size = coordinates(400), (9, 8)
    result = CropFlip(padding=0, flip=flip, size=size)(images, np.random.default_rng(0))
    assert result.shape == (400, 9, 8, 3)
    mirrored = result[:, 0, 0, 1] > result[:, 0, -1, 1]
    assert mirrored.any() == flip
    result = np.where(mirrored[:, None, None, None], result[:, :, ::-1], result)
    places = result[:, 0, 0, :2]
    for crop, image, (y, x) in zip(result, images, places, strict=True):
        np.testing.assert_array_equal(crop, image[y : y + 9, x : x + 8])
    assert {tuple(place) for place in places} == {(y, x) for y in range(4) for x in range(3)}


def test_crops_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="14x8 do not fit into 12x10"):
        CropFlip(padding=0, size=(14, 8))(coordinates(2), np.random.default_rng(0))
    assert CropFlip(padding=1, size=(14, 8))(coordinates(2), np.random.default_rng(0)).shape == (
        (2, 14, 8, 3)
    )


def test_batches_are_functions_of_seed_epoch_and_index():
    def epoch(number, seed=2**40):
        batches = AugmentedBatches(make(), np.int64(8), augment=CropFlip(2), seed=seed)
        batches.epoch = number
        return batches

    first, again = epoch(3), epoch(3)
    late = again[5]
    for i in range(len(first)):
        for a, b in zip(first[i], again[i], strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(late[0], first[5][0])
    for other in (epoch(4), epoch(3, seed=2**40 + 1)):
        assert (all_of(first)[1] != all_of(other)[1]).any()


def test_augmentation_differs_between_batches_and_epochs():
    batches = AugmentedBatches(make(), 8, augment=CropFlip(2), shuffle=False)
    positions = []
    for number in (0, 1):
        batches.epoch = number
        positions += [batches[i][0][:, 0, 0, :2].tobytes() for i in range(6)]
    assert len(set(positions)) == len(positions)


def test_getitem_leaves_no_trace():
    data = make()
    before = data.images.copy()
    batches = AugmentedBatches(data, 8, augment=CropFlip(2))
    batches[0][0][:] = 0
    batches[1]
    assert batches.epoch == 0
    np.testing.assert_array_equal(data.images, before)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_example_once_and_with_its_label(shuffle):
    batches = AugmentedBatches(make(), 8, shuffle=shuffle)
    images, labels = all_of(batches)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(images[:, 0, 0, 2], labels)
    np.testing.assert_array_equal(np.sort(labels), np.arange(50))
    assert (labels == np.arange(50)).all() != shuffle


def test_drop_remainder():
    assert [len(batch[1]) for batch in AugmentedBatches(make(), 8)] == [8] * 6 + [2]
    dropped = AugmentedBatches(make(), 8, drop_remainder=True)
    assert [len(batch[1]) for batch in dropped] == [8] * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"batch_size": 8, "seed": -1}, "`seed` must be"),
        ({"batch_size": 8, "shuffle": "no"}, "`shuffle` must be True or False"),
        ({"batch_size": 8, "drop_remainder": "no"}, "`drop_remainder` must be True or False"),
        ({"batch_size": 51, "drop_remainder": True}, "no batch of 51 in 50"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        AugmentedBatches(make(), **arguments)


def test_refuses_other_indices_and_epochs():
    batches = AugmentedBatches(make(), 8)
    for index in (-1, 7):
        with pytest.raises(IndexError, match="0 to 6"):
            batches[index]
    with pytest.raises(ValueError, match="epoch"):
        batches.epoch = 0.5


def make_model(weights=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((12, 10, 3)), keras.layers.Rescaling(0.1), keras.layers.Flatten()]
    )
    model.add(keras.layers.Dense(50))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    if weights is not None:
        model.set_weights(weights)
    return model


def test_a_resumed_fit_sees_the_same_batches():
    batches = AugmentedBatches(make(), 8, augment=CropFlip(2))
    arguments = {"shuffle": False, "verbose": 0, "callbacks": [SetEpoch(batches)]}
    expected = make_model()
    for epoch in (0, 1):
        resume_from = expected.get_weights()
        batches.epoch = epoch
        for i in range(len(batches)):
            expected.train_on_batch(*batches[i])
    whole = make_model()
    whole.fit(batches, epochs=2, **arguments)
    batches.epoch = 0
    resumed = make_model(resume_from)
    resumed.fit(batches, epochs=2, initial_epoch=1, **arguments)
    for model in (whole, resumed):
        for got, want in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
