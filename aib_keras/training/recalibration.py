"""The batch norms behind an attention whose noise the deterministic prediction leaves out."""

import keras

from aib_keras.utils.checks import check_integer


def recalibrate(model, images, batch_size=128):
    """Estimates the statistics of batch norms behind the attention again, without any noise.

    With `modulation="noise"`, these batch norms see noisy features in training. The deterministic
    prediction, and with it every exported model, replaces the noise by its mean. The features then
    vary less than the statistics say, which can cost much accuracy. This passes images without
    noise and replaces each statistic by its mean over the batches, as for Stochastic Weight
    Averaging (Izmailov et al., UAI 2018). Weights stay as they are, and so do the statistics of
    frozen batch norms, which are not of the noisy features.

    `predict_mc` draws the noise, so it needs the statistics from before: call it first, or on a
    copy of the model.

    Args:
        model: Built `AIBClassifier`.
        images: uint8 or float array `(N, H, W, 3)`, training images, about 2,000. A rest of less
            than `batch_size` images is not used.
        batch_size: Integer, at least 2.

    Returns:
        Integer, the number of batch norms whose statistics are new.

    Raises:
        ValueError: if the model has no attention or no batch norm behind it, if these are frozen,
            or if there are fewer images than `batch_size`.
    """
    batch_size = check_integer("batch_size", batch_size, minimum=2)
    norms = norms_behind_attention(model)
    trunk = model.encoder.trunk
    if len(images) < batch_size:
        raise ValueError(
            f"There are {len(images)} images, less than one batch of {batch_size}. Pass more "
            "images, or a smaller `batch_size`."
        )
    momenta = [(norm, norm.momentum) for norm in norms]
    # Of dropouts, Keras's and ours, which have no common type.
    rates = [(each, each.rate) for each in trunk._flatten_layers() if hasattr(each, "rate")]
    try:
        for dropout, _ in rates:
            dropout.rate = 0.0
        for number in range(len(images) // batch_size):
            for norm in norms:
                # The mean over all batches so far.
                norm.momentum = number / (number + 1)
            batch = images[number * batch_size : (number + 1) * batch_size]
            features = model.feature_extractor(model.preprocess(batch), training=False)
            trunk(model.attention(features, training=False, sample=False), training=True)
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for dropout, rate in rates:
            dropout.rate = rate
    for metric in model.metrics:
        # The attention has counted what it has seen here.
        metric.reset_state()
    return len(norms)


def norms_behind_attention(model):
    """Returns the batch norms that `recalibrate` is for, a list.

    Raises:
        ValueError: if there is none, or if all are frozen.
    """
    trunk = getattr(getattr(model, "encoder", None), "trunk", None)
    layers = [] if trunk is None or model.attention is None else trunk._flatten_layers()
    norms = [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]
    if not norms:
        raise ValueError(f"{model.name} has no batch norm behind an attention.")
    # The statistics of the others are from before the noise, such as those of ImageNet.
    trained = [norm for norm in norms if norm.trainable]
    if not trained:
        raise ValueError(
            f"All batch norms behind the attention of {model.name} are frozen, so their statistics "
            "are not of noisy features and should stay. If you froze them after the training, set "
            "their `trainable` to True."
        )
    return trained
