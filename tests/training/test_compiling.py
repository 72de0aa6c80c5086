import keras
import numpy as np
import pytest

from aib_keras import zoo
from aib_keras.training import FitConfig, compile_classifier

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("uint8")


def changes_of_one_step(name, optimizer, factor):
    """Returns the changes of one step, by part (backbone or rest) and path of the variable."""
    keras.utils.set_random_seed(0)
    model = zoo.create(name, width=0.03)
    config = FitConfig(
        optimizer=optimizer,
        backbone_learning_rate=factor,
        learning_rate=0.01,
        schedule="constant",
        **({"momentum": 0.0, "weight_decay": 0.0} if optimizer == "sgd" else {}),
    )
    compile_classifier(model, config, 1)
    backbone = {
        id(variable)
        for layer in model.part_layers("backbone")
        for variable in layer.trainable_variables
    }
    before = [np.array(variable) for variable in model.trainable_variables]
    model.train_on_batch(IMAGES, np.arange(8))
    found = {True: {}, False: {}}
    for start, variable in zip(before, model.trainable_variables, strict=True):
        found[id(variable) in backbone][variable.path] = np.array(variable) - start
    return found[True], found[False]


@pytest.mark.parametrize("name", ["vgg", "vgg_aib_qt"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_backbone_has_a_learning_rate_of_its_own(name, optimizer):
    backbone, rest = changes_of_one_step(name, optimizer, 1.0)
    scaled_backbone, same_rest = changes_of_one_step(name, optimizer, 0.25)
    assert len(backbone) > 20
    assert any("logits" in path for path in rest)
    for path, change in backbone.items():
        np.testing.assert_allclose(
            scaled_backbone[path], 0.25 * change, rtol=1e-2, atol=1e-7, err_msg=path
        )
    for path, change in rest.items():
        np.testing.assert_allclose(same_rest[path], change, rtol=1e-2, atol=1e-7, err_msg=path)


@pytest.mark.parametrize("name", ["efficientnet_lite0_aib", "wrn_aib", "wrn50_2_aib_qt", "wrn50_2"])
def test_other_families_have_a_backbone_too(name):
    model = zoo.create(name, num_classes=5, width=0.03)
    compile_classifier(model, FitConfig(backbone_learning_rate=0.1), 1)
    multipliers = model.optimizer.learning_rate_multipliers
    assert len(multipliers) == len(model.trainable_variables)
    assert 20 < multipliers.count(0.1) < len(multipliers)


def test_it_needs_a_backbone():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    config = FitConfig(backbone_learning_rate=0.1)
    with pytest.raises(ValueError, match="needs to know the backbone.*got Sequential"):
        compile_classifier(model, config, 1)
    with pytest.raises(ValueError, match="`backbone_learning_rate` 0.1: vgg_att3 has no backbone"):
        compile_classifier(zoo.vgg_att3(width=0.03), config, 1)


def test_a_loaded_model_has_the_rates_that_it_was_trained_with(tmp_path):
    """The trunk of EfficientNet and the attention both have a layer `head`."""
    model = zoo.efficientnet_lite0_aib_qt(
        num_classes=5, input_shape=(48, 48, 3), width=0.1, latent_dim=4
    )
    for optimizer in ("sgd", "adam"):
        config = FitConfig(optimizer=optimizer, backbone_learning_rate=0.0, learning_rate=0.1)
        compile_classifier(model, config, 1)
        model.optimizer.build(model.trainable_variables)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        compile_classifier(loaded, config, 1)
        for each in (model, keras.saving.load_model(tmp_path / "model.keras"), loaded):
            assert each.optimizer.learning_rate_multipliers == (
                model.optimizer.learning_rate_multipliers
            )
            before = [np.array(variable) for variable in each.attention.trainable_variables]
            images = np.zeros((5, 48, 48, 3), "uint8")
            each.train_on_batch(images, np.arange(5))
            after = [np.array(variable) for variable in each.attention.trainable_variables]
            assert any((one != other).any() for one, other in zip(before, after, strict=True))
