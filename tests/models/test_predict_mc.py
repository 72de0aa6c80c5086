import keras
import numpy as np
import pytest
from keras import ops

NO_NOISE = -1e4  # softplus of it is 0


def silence_attention(model):
    model.attention.std_conv.bias.assign([NO_NOISE])


def silence_latent(model):
    bias = ops.convert_to_numpy(model.encoder.linear.bias).copy()
    bias[model.encoder.latent_dim :] = NO_NOISE
    model.encoder.linear.bias.assign(bias)


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("samples", [1, 3])
def test_names_shapes_and_dtypes(make_classifier, images, samples):
    found = make_classifier().predict_mc(images, samples=samples)
    assert set(found) == {"logits", "probabilities", "probabilities_std"}
    for name, array in found.items():
        assert isinstance(array, np.ndarray), name
        assert (array.shape, array.dtype) == ((5, 3), "float32"), name
    np.testing.assert_allclose(found["probabilities"], softmax(found["logits"]), rtol=1e-5)
    assert np.all(found["probabilities_std"] > 0) == (samples > 1)


def test_repeats_with_the_seed_whatever_training_drew(make_classifier, images):
    model = make_classifier()
    model(images)
    first = model.predict_mc(images, seed=1)
    model(images, sample=True)
    again, other = model.predict_mc(images, seed=1), model.predict_mc(images, seed=2)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.allclose(first[name], other[name])


def test_without_noise_it_is_the_deterministic_prediction(make_classifier, images):
    model = make_classifier()
    model(images)
    silence_attention(model)
    silence_latent(model)
    found = model.predict_mc(images, samples=2)
    expected = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["probabilities_std"], 0.0, atol=1e-6)


def test_the_noise_of_the_features_is_drawn(make_classifier, images):
    model = make_classifier(modulation="noise")
    model(images)
    silence_attention(model)
    silence_latent(model)
    first, again = (model.predict_mc(images, samples=3, seed=1) for _ in range(2))
    assert (first["probabilities_std"] > 0).all()
    np.testing.assert_array_equal(first["logits"], again["logits"])
    # The noise of training is not touched.
    seeds = ops.convert_to_numpy(model.attention.noise_sampler.seed_generator.state)
    model.predict_mc(images, samples=3, seed=2)
    state = ops.convert_to_numpy(model.attention.noise_sampler.seed_generator.state)
    np.testing.assert_array_equal(state, seeds)


def linear_classifier(make_classifier):
    """Logits are the first 3 of 6 latents, and the attention is not quantised."""
    decoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, use_bias=False)])
    decoder.set_weights([np.eye(6, 3)])
    return make_classifier(quantizer=False, batch_norm=False, decoder=decoder)


def test_latents_are_averaged_over_samples_squared_draws(make_classifier, images):
    model = linear_classifier(make_classifier)
    many = np.repeat(images[:1], 3000, axis=0)
    model(many[:1])
    silence_attention(model)
    deterministic = model.explain(images[:1])
    for samples in (1, 3):
        logits = model.predict_mc(many, samples=samples, batch_size=1000)["logits"]
        std = deterministic["latent_std"][0, :3]
        np.testing.assert_allclose(logits.std(axis=0), std / samples, rtol=0.1)
        error = std / samples / np.sqrt(len(many))
        assert np.all(np.abs(logits.mean(axis=0) - deterministic["logits"][0]) < 5 * error)


def test_each_map_is_shared_by_its_latents(make_classifier, images):
    model = linear_classifier(make_classifier)
    many = np.repeat(images[:1], 3000, axis=0)
    model(many[:1])
    model.attention.std_conv.bias.assign([6.0])
    silence_latent(model)
    stds = [
        model.predict_mc(many, samples=samples, batch_size=1000)["logits"].std(axis=0)
        for samples in (1, 4)
    ]
    # Averaged over 4 maps, not over 16.
    np.testing.assert_allclose(stds[1], stds[0] / 2, rtol=0.1)


def test_probabilities_std_is_that_of_the_single_predictions(make_classifier, images):
    model = linear_classifier(make_classifier)
    many = np.repeat(images[:1], 2000, axis=0)
    model(many[:1])
    silence_attention(model)
    single = model.predict_mc(many, samples=1, batch_size=1000)["probabilities"]
    found = model.predict_mc(many[:1000], samples=4, batch_size=1000)["probabilities_std"]
    np.testing.assert_allclose(found.mean(axis=0), single.std(axis=0), rtol=0.1)


def test_different_images_of_a_batch_get_different_noise(make_classifier, images):
    model = make_classifier()
    found = model.predict_mc(np.repeat(images[:1], 4, axis=0), samples=1)["logits"]
    assert len(np.unique(found, axis=0)) == 4


def test_a_model_that_was_not_called_before_is_built(make_classifier, images):
    model = make_classifier()
    found = model.predict_mc(images, samples=1)
    assert found["logits"].shape == (5, 3)
    assert model(images).shape == (5, 3)


@pytest.mark.parametrize("samples", [0, -1, 2.0, True, None])
def test_samples_must_be_a_positive_integer(make_classifier, images, samples):
    with pytest.raises(ValueError, match="samples"):
        make_classifier().predict_mc(images, samples=samples)
