"""The paper's classifier: IB attention in front of a variational bottleneck (Fig. 2)."""

import keras

from aib_keras.models.variational_classifier import VariationalClassifier


@keras.saving.register_keras_serializable(package="aib_keras")
class AIBClassifier(VariationalClassifier):
    """A classifier with an attentive information bottleneck: Fig. 2 of the paper, part by part.

        f = feature_extractor(images)
        h = attention(f)             modulated features, the map sampled from p(a|x)
        z = encoder(h)               sampled from p(z|x, a)
        logits = decoder(z)          q(y|z)

    Each part is a layer or model of its own and can be replaced. `attention` and `encoder` add
    their terms of Eq. 10 with `add_loss` and report them as metrics. `compile` needs only a
    cross-entropy over logits.

    Source: Lai et al., IJCAI 2021, Fig. 2 and Eq. 10.

    Args:
        feature_extractor: Model from normalised images to features `(B, H, W, C)`.
        attention: `IBAttention`.
        encoder: As in `VariationalClassifier`. It reads the modulated features.
        decoder: As in `VariationalClassifier`.
        **kwargs: `preprocessing` and `stochastic`, as in `VariationalClassifier`, and arguments
            of `keras.Model`.

    The call arguments, returns and errors are those of `ImageClassifier`.
    """

    part_names = ("preprocessing", "feature_extractor", "attention", "encoder", "decoder")
    map_names = ("attention",)

    def __init__(self, feature_extractor, attention, encoder, decoder, **kwargs):
        super().__init__(encoder=encoder, decoder=decoder, **kwargs)
        self.feature_extractor = feature_extractor
        self.attention = attention

    def build(self, input_shape):
        input_shape = self._preprocessed_shape(input_shape)
        if not self.feature_extractor.built:
            self.feature_extractor.build(input_shape)
        features_shape = self.feature_extractor.compute_output_shape(input_shape)
        if not self.attention.built:
            self.attention.build(features_shape)
        self._build_latent(features_shape)

    def _encoder_inputs(self, images, training, sample):
        features = self.feature_extractor(self.preprocess(images), training=training)
        modulated, maps = self.attention(
            features, training=training, sample=sample, return_attention=True
        )
        if not sample:
            # `attention` is the mean then: one name for it is enough.
            del maps["attention_mean"]
        return modulated, maps

    def _sampled_encoder_inputs(self, images, samples, draw):
        features = self.feature_extractor(self.preprocess(images), training=False)
        mean, std = self.attention.distribution(features, training=False)

        def one(mean, std):
            return draw(mean, std, 1)[0]

        # One map after the other, because the encoder's activations of all of them may not fit
        # into memory at once.
        for _ in range(samples):
            modulated, _ = self.attention.modulate(features, one(mean, std), draw=one)
            yield modulated
