import pytest

from aib_keras import zoo


@pytest.fixture(scope="session")
def small():
    """`small(name, **arguments)`: the zoo model in a small width."""
    return _small


def _small(name, **arguments):
    settings = {"width": 0.025 if name.startswith("wrn") else 0.0625}
    if "_aib" in name or name == "vgg_dvib":
        settings["latent_dim"] = 8
    return zoo.get(name)(**{**settings, **arguments})
