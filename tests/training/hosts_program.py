"""What `test_hosts.py` runs in two processes on loopback: noise in a batch of equal images.

python hosts_program.py OUT.npz
"""

import sys

import keras
import numpy as np

from aib_keras import layers, models
from aib_keras.training import devices
from aib_keras.utils import processes

BATCH = 4


def classifier():
    inputs = keras.Input((8, 8, 3))
    return models.AIBClassifier(
        feature_extractor=keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs)),
        attention=layers.IBAttention(quantizer=layers.AnchorQuantizer(4)),
        encoder=layers.VariationalEncoder(8, trunk=keras.layers.GlobalAveragePooling2D()),
        decoder=keras.layers.Dense(10),
    )


with devices("data_parallel") as number:
    import jax
    from jax.experimental import multihost_utils

    keras.utils.set_random_seed(0)
    model = classifier()
    model.build((None, 8, 8, 3))
    layout = keras.distribution.distribution().get_data_layout((BATCH, 8, 8, 3)).backend_layout
    share = np.ones((BATCH // processes.count(), 8, 8, 3), "float32")
    images = jax.make_array_from_process_local_data(layout, share)

    @jax.jit
    def forward(trainable, others, images):
        return model.stateless_call(trainable, others, images, training=True)[0]

    state = [
        [variable.value for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    logits = multihost_utils.process_allgather(forward(*state, images), tiled=True)
    # Process 0 can explain and predict alone, while the others do something else.
    if processes.is_first():
        images = np.ones((3, 8, 8, 3), "float32")
        np.savez(
            sys.argv[1],
            devices=number,
            logits=logits,
            attention=model.explain(images)["attention"],
            probabilities=model.predict_mc(images)["probabilities"],
        )
