"""The 224x224 models against what the authors' PyTorch models compute (golden/, full size)."""

import numpy as np
import pytest
from golden.reference_weights import FOLDER, draw_images, draw_state, read_shapes

from aib_keras import zoo

GOLDEN = {
    "vgg16_aib": "cub_vgg_aib_c200",
    "vgg16_aib_qt": "cub_vgg_aib_qt_c200",
    "wrn50_2_aib": "cub_wrn_aib_c200",
    "wrn50_2_aib_qt": "cub_wrn_aib_qt_c200",
}


# The Wide-ResNets take ten seconds and 3 GB each.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if "wrn" in n else ()) for n in GOLDEN]
)
def test_maps_latent_and_logits(name):
    model = zoo.get(name)(include_preprocessing=False)
    zoo.load_authors_checkpoint(model, draw_state(read_shapes(GOLDEN[name]), seed=0))
    found = model.explain(draw_images(seed=0, size=224))
    with np.load(FOLDER / f"{GOLDEN[name]}_seed0.npz") as arrays:
        expected = dict(arrays)

    found = {
        "attention_mean": found["attention"][..., 0],
        "attention_std": found["attention_std"][..., 0],
        **{other: found[other] for other in ("latent_mean", "latent_std", "logits", "kl_nats")},
    }
    for maps in ("attention_mean", "attention_std"):
        expected[maps] = expected[maps][:, 0]
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4, err_msg=key)
