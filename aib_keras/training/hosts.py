"""How the processes of a training on several hosts find each other."""

import importlib.util
import json
import os

import keras

_ADDRESSES, _COUNT, _INDEX = _KERAS = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)
# As Kubeflow Trainer sets them.
_KUBEFLOW = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")

NO_MULTI_WORKER = (
    "Training on several hosts with TensorFlow's MultiWorkerMirroredStrategy is not offered: "
    "Keras's `fit` fails under it (https://github.com/keras-team/keras/issues/20585). Train on "
    'JAX: set the environment variable KERAS_BACKEND=jax and use strategy="data_parallel".'
)


def join(strategy):
    """Joins the processes that train together, if the environment names several.

    JAX must not have computed anything before. A process that `keras.distribution.initialize` has
    already joined to others stays as it is. Otherwise it looks, in this order, for:

    - Keras's variables KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and
      KERAS_DISTRIBUTION_PROCESS_ID;
    - Kubeflow Trainer's JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID;
    - several tasks of Slurm or Open MPI, or an indexed job of Kubernetes, which JAX detects.

    Args:
        strategy: String, as `training.devices` takes it.

    Raises:
        ValueError: if the environment names several processes and the backend or the strategy
            trains in one only, or if its variables are incomplete or contradict each other.
        RuntimeError: if JAX has computed something before.
    """
    _check_tensorflow(strategy)
    variables = _variables()
    number = variables and variables[1]
    if strategy != "data_parallel" or keras.backend.backend() != "jax":
        if number and number > 1:
            raise ValueError(
                f"The environment names {number} processes ({_COUNT} or {_KUBEFLOW[1]}), and "
                f'strategy="{strategy}" on Keras\'s {keras.backend.backend()} backend trains in '
                'one. Set KERAS_BACKEND=jax and use strategy="data_parallel", or unset the '
                "variables."
            )
        return
    import jax

    if jax.distributed.is_initialized() or number == 1:
        return
    if variables is None and not _launched_together():
        return
    try:
        keras.distribution.initialize(*(variables or ()))
    except RuntimeError as error:
        if "before" not in str(error):
            raise
        raise RuntimeError(
            "JAX has already computed something, so this process cannot join the others any more. "
            "Enter `training.devices` or call `keras.distribution.initialize()` first, before "
            "data are loaded and models are built."
        ) from error


def _variables():
    """Returns addresses, number and index of the processes from the environment, or None."""
    if os.environ.get(_COUNT) == "1":
        return None, 1, 0
    for names in (_KERAS, _KUBEFLOW):
        found = [os.environ.get(name) for name in names]
        # Of Kubeflow's, JAX reads the address by itself where a launcher sets the rest.
        if all(found) or (any(found) and names is _KERAS):
            return _checked(names, found)
    return None


def _checked(names, found):
    missing = [name for name, value in zip(names, found, strict=True) if not value]
    if missing:
        raise ValueError(
            f"Of {', '.join(names)} the environment lacks {', '.join(missing)}. Set all three in "
            "every process: the address and port of process 0, the number of processes, and the "
            "index of this process from 0 on."
        )
    addresses, number, index = found
    if not (number.isdecimal() and index.isdecimal() and int(index) < int(number)):
        raise ValueError(
            f"Expected {names[1]} to be the number of processes and {names[2]} an index from 0 to "
            f"that number minus 1, got {number!r} and {index!r}."
        )
    hosts = addresses.split(",")
    if not all(host.rpartition(":")[2].isdecimal() and ":" in host for host in hosts):
        raise ValueError(
            f"Expected {names[0]} to be HOST:PORT of process 0, such as 10.0.0.1:12345, got "
            f"{addresses!r}."
        )
    if len(hosts) not in (1, int(number)):
        raise ValueError(
            f"{names[0]} has {len(hosts)} addresses for {number} processes. The address of process "
            "0 is enough."
        )
    return hosts[0], int(number), int(index)


def _launched_together():
    """Whether this process is one of several that JAX can detect."""
    # Only `srun` sets the variables of a step, not a batch script.
    if "SLURM_STEP_NODELIST" in os.environ:
        return int(os.environ.get("SLURM_NTASKS", 1)) > 1
    if "OMPI_MCA_orte_hnp_uri" in os.environ:
        return int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
    if "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ:
        if importlib.util.find_spec("kubernetes") is None:
            raise ValueError(
                "This is a pod of an indexed Kubernetes job. To find the others, JAX needs the "
                f"package kubernetes: pip install kubernetes, or set {', '.join(_KERAS)}. If the "
                f"pod trains by itself, set {_COUNT}=1."
            )
        return True
    return False


def _check_tensorflow(strategy):
    """Raises a ValueError if TF_CONFIG names several workers."""
    if keras.backend.backend() != "tensorflow" or "TF_CONFIG" not in os.environ:
        return
    cluster = json.loads(os.environ["TF_CONFIG"]).get("cluster", {})
    workers = sum(len(addresses) for job, addresses in cluster.items() if job != "evaluator")
    if workers > 1:
        raise ValueError(
            f'TF_CONFIG names {workers} workers, and strategy="{strategy}" trains in one process. '
            f"{NO_MULTI_WORKER}"
        )
