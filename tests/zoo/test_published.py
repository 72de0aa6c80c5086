"""The published weights have the error on their card, as a model, a SavedModel and for LiteRT."""

import pathlib

import numpy as np
import pytest
from scipy import stats

from aib_keras import data, export, zoo

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared" / "tfds"
IMAGES = 2_000
ENTRIES = [entry for name in zoo.list_models(weights=True) for entry in zoo.weights(name)]


@pytest.fixture(scope="module")
def examples():
    """`examples(entry)`: the first test images of the data set that an entry was evaluated on."""

    def load(entry):
        dataset = entry.evaluated_on.split()[0]
        if dataset != "cluttered_digits" and not SHARED.is_dir():
            pytest.skip(f"{dataset} is not beside this checkout, in {SHARED}")
        split = f"test[:{min(IMAGES, 1_500)}]" if dataset == "cluttered_digits" else "test[:2000]"
        return data.load(dataset, split, data_dir=str(SHARED))

    return load


@pytest.mark.slow
@pytest.mark.tensorflow("It exports the models.")
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.model}-{entry.name}")
def test_the_error_is_that_of_the_card(entry, examples, tmp_path):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    found = examples(entry)
    model = zoo.create(entry.model, weights=entry.name)
    logits = {"model": model.predict(found.images, batch_size=250, verbose=0)}

    export.to_saved_model(model, tmp_path / "saved", class_names=entry.class_names)
    signature = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    batches = np.split(found.images, range(250, len(found), 250))
    logits["saved_model"] = np.concatenate(
        [signature(images=tf.constant(batch))["logits"] for batch in batches]
    )

    export.to_litert(model, tmp_path / "model.tflite", quantize="float16")
    runner = Interpreter(str(tmp_path / "model.tflite"), num_threads=2).get_signature_runner()
    logits["litert"] = np.concatenate([runner(images=batch)["logits"] for batch in batches])

    for name, values in logits.items():
        wrong = int((values.argmax(axis=1) != found.labels).sum())
        # The card's error is on all test images. One in 10,000 samples lies outside.
        low, high = stats.binomtest(wrong, len(found)).proportion_ci(0.9999, method="wilson")
        assert low <= entry.error <= high, name
    agreement = [
        values.argmax(axis=1) == logits["model"].argmax(axis=1) for values in logits.values()
    ]
    assert np.mean(agreement) > 0.995
