"""The processes and devices that train one model together, on JAX. Elsewhere there is one."""

import contextlib
import zlib

import keras
import numpy as np


def count():
    """Returns the number of processes that train together."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return jax.process_count()


def index():
    """Returns the index of this process, in [0, count())."""
    if keras.backend.backend() != "jax":
        return 0
    import jax

    return jax.process_index()


def is_first():
    """Whether this process is the one that writes files and prints."""
    return index() == 0


def replicas():
    """Returns the number of copies of the model that share a batch in the current distribution."""
    # From 3.15 on, Keras has this as `num_model_replicas`.
    distribution = keras.distribution.distribution()
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def together(function, *args):
    """Calls a function in all processes, and stops all of them if it fails in one.

    Without that the others would wait for the one that failed. The function must not compute with
    what is spread over the processes.

    Returns:
        What the function returns in this process.

    Raises:
        RuntimeError: where the function succeeded and failed in another process. Where it failed,
            its own error is raised.
    """
    if count() == 1:
        return function(*args)
    result = failure = None
    try:
        result = function(*args)
    except Exception as error:
        failure = error
    failed = [rank for rank, flag in enumerate(gather(failure is not None)) if flag]
    if failure is not None:
        raise failure
    if failed:
        raise RuntimeError(
            f"Process {index()} stops because process {failed[0]} failed. The error is in the "
            f"output of process {failed[0]}."
        )
    return result


def on_first(function, *args):
    """Calls a function in process 0 while the others wait.

    With several processes it is called without Keras's distribution, which needs them all.

    Returns:
        What the function returns, in process 0; None in the others.

    Raises:
        RuntimeError: in the other processes, if the function fails. Process 0 raises its own error.
    """

    def call():
        if is_first():
            with undistributed():
                return function(*args)
        return None

    return function(*args) if count() == 1 else together(call)


def gather(value):
    """Returns a list of the integers in [0, 2**32) that the processes pass. All must call it."""
    if count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.uint32(value)).tolist()


def check_same(name, value):
    """Raises a ValueError unless all processes pass the same value, compared by its `repr`."""
    checksum = zlib.crc32(repr(value).encode())
    others = [rank for rank, each in enumerate(gather(checksum)) if each != checksum]
    if others:
        raise ValueError(
            f"All processes need the same {name}. Process {index()} has {value!r}, and it differs "
            f"in the processes {others}."
        )


@contextlib.contextmanager
def undistributed():
    """Keeps Keras from spreading new variables over devices, which takes all processes."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
