"""Shares of batches add up to the batches of one process."""

import keras
import numpy as np
import pytest

from aib_keras import data
from aib_keras.training import sharing
from aib_keras.training.sharing import SharedBatches

EXAMPLES = data.load("cluttered_digits", "test", size=41)


def noisy(images, rng):
    """An augmentation of one's own, which draws for all images at once."""
    return images + rng.integers(0, 9, images.shape, dtype="uint8")


@pytest.mark.parametrize("augment", [None, data.CropFlip(), noisy])
@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_training_batches_of_one(augment, count):
    batches = data.AugmentedBatches(EXAMPLES, 8, augment=augment, seed=3, drop_remainder=True)
    shares = [SharedBatches(batches, count, process, count) for process in range(count)]
    for epoch in (0, 1):
        batches.epoch = epoch
        for index in range(len(batches)):
            for whole, *parts in zip(batches[index], *(share[index] for share in shares)):  # noqa: B905
                assert all(len(part) == 8 // count for part in parts)
                np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_process_reads_only_its_share():
    class Counting:
        read = 0
        shape = EXAMPLES.images.shape

        def __getitem__(self, examples):
            self.read += len(examples)
            return EXAMPLES.images[examples]

    class Examples:
        images, labels = Counting(), EXAMPLES.labels

        def __len__(self):
            return len(self.labels)

    batches = data.AugmentedBatches(
        Examples(), 8, augment=data.CropFlip(), drop_remainder=True, seed=3
    )
    SharedBatches(batches, 2, process=1, count=2)[0]
    assert Examples.images.read == 4


@pytest.mark.parametrize("count", [1, 2])
def test_evaluation_batches_are_padded_and_say_how_many_rows_count(count):
    batches = data.AugmentedBatches(EXAMPLES, 16, shuffle=False)
    replicas = 6
    shares = [SharedBatches(batches, replicas, p, count, pad=True) for p in range(count)]
    for index, (size, padded) in enumerate([(16, 18), (16, 18), (9, 12)]):
        items = [share[index] for share in shares]
        images = np.concatenate([images for images, _, _ in items])
        labels = np.concatenate([labels for _, labels, _ in items])
        assert len(images) == len(labels) == padded
        np.testing.assert_array_equal(images[:size], batches[index][0])
        np.testing.assert_array_equal(labels[:size], batches[index][1])
        for _, _, (counts,) in items:
            np.testing.assert_array_equal(counts, np.full(padded // count, size))


class Own(keras.utils.PyDataset):
    """Batches of one's own, with weights."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        rows = np.arange(self.sizes[index])
        return {"image": rows[:, None]}, rows % 3, rows / 10


def test_batches_of_ones_own_are_shared_with_their_weights():
    second = SharedBatches(Own([4, 2]), 2, process=1, count=2)
    inputs, labels, weights = second[0]
    np.testing.assert_array_equal(inputs["image"], [[2], [3]])
    np.testing.assert_array_equal(labels, [2, 0])
    np.testing.assert_array_equal(weights, [0.2, 0.3])
    # Fewer rows than devices: repeated as often as it takes.
    padded = SharedBatches(Own([1]), 4, process=1, count=2, pad=True)
    _, _, (counts, weights) = padded[0]
    np.testing.assert_array_equal(counts, [1, 1])
    np.testing.assert_array_equal(weights, [0.0, 0.0])


def test_a_training_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="batch 1 has 3 examples.*multiple of 2"):
        SharedBatches(Own([4, 3]), 2)[1]


def test_full_batches_that_do_not_divide_are_refused_before_one_is_read(monkeypatch):
    monkeypatch.setattr(sharing.devices, "is_distributed", lambda: True)
    monkeypatch.setattr(sharing.devices, "count", lambda: 4)
    batches = data.AugmentedBatches(EXAMPLES, 10, drop_remainder=True)
    with pytest.raises(ValueError, match="`batch_size` 10 does not divide evenly between 4"):
        sharing.share_training(batches)
