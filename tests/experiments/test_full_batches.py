import numpy as np

from aib_keras import data
from aib_keras.experiments.full_batches import FullBatches


def test_all_batches_have_one_size_and_begin_with_all_images():
    digits = data.load("cluttered_digits", "train[:10]")
    batches = FullBatches(data.batches_of(digits, 4, shuffle=False))
    found = [batches[index] for index in range(len(batches))]
    assert [len(batch) for batch in found] == [4, 4, 4]
    np.testing.assert_array_equal(np.concatenate(found)[:10], digits.images)
