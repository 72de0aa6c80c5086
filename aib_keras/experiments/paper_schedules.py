"""The learning rates of the paper's authors on 32x32 images, for each of their models."""

# Pairs (epoch of 200 at which a stage starts, factor of the base learning rate of 0.1).
_EPOCHS = 200
_VGG_DECAY = tuple((25 * step, 0.5**step) for step in range(8))
_WRN_DECAY = ((0, 1.0), (60, 0.2), (120, 0.04), (160, 0.008))
_WARM_UPS = {
    "vgg_aib": ((0, 0.1), (1, 1.0)),
    "vgg_aib_qt": ((0, 1e-3), (1, 1e-2), (2, 1e-1), (3, 1.0)),
}


def paper_stages(model_name):
    """Returns the authors' stages for a zoo model, as `schedule_steps` of a `FitConfig` takes them.

    Args:
        model_name: A name of the zoo.

    Returns:
        A tuple of pairs (share of the training, factor of the base learning rate).
    """
    decay = _WRN_DECAY if model_name.startswith("wrn") else _VGG_DECAY
    warm_up = _WARM_UPS.get(model_name, ())
    stages = warm_up + tuple(stage for stage in decay if not warm_up or stage[0] > 0)
    return tuple((epoch / _EPOCHS, factor) for epoch, factor in stages)
