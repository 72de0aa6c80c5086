import pytest

# Settings that make each model small enough to run.
_SMALL = {
    "vgg": {"width": 0.0625},
    "vgg_aib": {"width": 0.0625, "latent_dim": 8},
    "vgg_aib_qt": {"width": 0.0625, "latent_dim": 8},
    "wrn": {"width": 0.025},
    "wrn_aib": {"width": 0.025, "latent_dim": 8},
    "wrn_aib_qt": {"width": 0.025, "latent_dim": 8},
}


@pytest.fixture(scope="session")
def small():
    """`small(name, **arguments)`: the zoo model in a small width."""
    from aib_keras import zoo

    return lambda name, **arguments: getattr(zoo, name)(**{**_SMALL[name], **arguments})
