"""Gradients with respect to a tensor."""

import keras
import numpy as np
from keras import ops

from aib_keras.explain.gradients import gradient


def test_the_gradient_of_what_does_not_matter_is_zero():
    inputs = ops.convert_to_tensor(np.ones(3, "float32"))
    model = keras.Sequential()
    found = gradient(lambda x: ops.sum(x * x), inputs, model)
    np.testing.assert_allclose(ops.convert_to_numpy(found), 2.0)
    found = gradient(lambda x: ops.sum(ops.stop_gradient(x)), inputs, model)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), 0.0)
