"""Reads checkpoints of the paper's authors' PyTorch release into the zoo's models."""

from aib_keras.zoo import registry
from aib_keras.zoo.torch_checkpoint import load_tensors, read_state


def load_authors_checkpoint(model, state):
    """Sets the weights of a zoo model to those of a checkpoint by the paper's authors.

    Args:
        model: A VGG or Wide-ResNet of the zoo with IB attention; or `zoo.vgg` or `zoo.vgg_att3`
            (checkpoints of the Learn to Pay Attention code that the authors build on), or
            `zoo.wrn_abn` (checkpoints of the Attention Branch Network's code).
        state: Path of a `.safetensors` file, or of a file that `torch.save` wrote (since PyTorch
            1.6, reading it needs PyTorch); or a mapping from the names of the state_dict to arrays,
            with convolution kernels as OIHW.

    Raises:
        ImportError: if reading the file needs a package that is not installed.
        ValueError: if a tensor is missing, superfluous or of another shape. The error names all of
            them, and the model is unchanged.
    """
    entries = {name: registry.entry(name) for name in registry.list_models()}
    known = [name for name, entry in entries.items() if entry.authors_names is not None]
    if model.name not in known:
        raise ValueError(
            f"The authors have no checkpoint of {model.name!r}. Expected one of "
            f"{', '.join(known)}, as the zoo makes them."
        )
    load_tensors(
        read_state(state),
        entries[model.name].authors_names(model),
        entries[model.name].authors_unused,
        f"The checkpoint does not fit {model.name}. Is it of this model, with this number of "
        "classes, anchors and latent dimensions?",
    )
