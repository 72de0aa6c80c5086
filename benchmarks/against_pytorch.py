r"""Images per second of a training step, ours and plain PyTorch, in alternating rounds.

    python benchmarks/against_pytorch.py --models=vgg_aib_qt --width=0.25
    python benchmarks/against_pytorch.py --ours=jax-bfloat16 --batch_size=256    # on a GPU

Ours is `fit` as a recipe runs it, with augmentation and metrics. PyTorch's are the same layers in
plain code (benchmarks/torch_models.py, channels last) on one batch that is ready on the device,
without augmentation or metrics. Each variant has a process of its own. They prepare at the same
time and are then timed one after the other, `--rounds` times; the figure is the median.

On a GPU the table also has the share of the bfloat16 peak, which a large matrix product of this
very card defines.
"""

import json
import os
import statistics
import subprocess
import sys
import time

from absl import app, flags

MODELS = flags.DEFINE_list("models", ["vgg_aib_qt", "wrn_aib_qt"], "vgg_aib_qt, wrn_aib_qt.")
OURS = flags.DEFINE_list(
    "ours", ["tensorflow-float32"], "Keras backend and precision: tensorflow-bfloat16, ..."
)
TORCH = flags.DEFINE_list(
    "torch",
    ["float32", "bfloat16", "bfloat16-compile"],
    "PyTorch's variants: precision, and -compile for `torch.compile`. Empty for none.",
)
WIDTH = flags.DEFINE_float("width", 1.0, "Multiplies every channel count.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per step.")
STEPS = flags.DEFINE_integer("steps", 10, "Steps per round.", 1)
ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds.", 1)
CHILD = flags.DEFINE_string("child", None, "Measure this variant of --models, told by stdin.")


def prepare_ours(name, policy):
    """Returns a function that trains for a round."""
    import keras
    import numpy as np

    from aib_keras import data, zoo
    from aib_keras.training import FitConfig, compile_classifier, data_on_device

    keras.config.set_dtype_policy(policy)
    rng = np.random.default_rng(0)
    count = BATCH_SIZE.value * STEPS.value
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, count).astype("int32")
    examples = data.ImageData(images, labels, tuple("0123456789"))
    config = FitConfig(batch_size=BATCH_SIZE.value, optimizer="sgd", learning_rate=0.01).resolved()
    batches = data.AugmentedBatches(examples, config.batch_size, augment=data.CropFlip())
    model = zoo.create(name, width=WIDTH.value)
    compile_classifier(model, config, STEPS.value)
    if data_on_device.use_data_on_device(batches, config):
        batches = data_on_device.train_on_device(model, batches)
    return lambda: model.fit(batches, shuffle=False, verbose=0)


def prepare_torch(name, variant):
    """Returns a function that trains for a round."""
    import torch
    import torch_models

    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision, *compiled = variant.split("-")
    model = torch_models.create(name, WIDTH.value).to(device)
    images = torch.randn(BATCH_SIZE.value, 3, 32, 32, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH_SIZE.value,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    forward = torch.compile(model) if compiled else model

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = forward(images, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def run():
        for _ in range(STEPS.value):
            step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def child():
    """Prepares, then trains a round for each line of stdin and prints its seconds."""
    framework, variant = CHILD.value.split(":")
    name = MODELS.value[0]
    if framework == "torch":
        time_rounds(prepare_torch(name, variant))
        return
    from aib_keras.training.precision import fast_kernels

    policy = "float32" if variant == "float32" else f"mixed_{variant}"
    with fast_kernels(policy):
        time_rounds(prepare_ours(name, policy))


def time_rounds(run):
    """Runs a round for each line of stdin, after a first one, and prints its seconds."""
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(json.dumps(time.perf_counter() - start), flush=True)


def start(name, variant):
    framework = variant.split(":")[0]
    command = [sys.executable, __file__, f"--child={variant}", f"--models={name}"]
    command += [f"--{flag.name}={flag.value}" for flag in (WIDTH, BATCH_SIZE, STEPS)]
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if framework != "torch":
        environment["KERAS_BACKEND"] = framework
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def read(process):
    """Returns the next line that a child means for us, or None if it has ended."""
    for line in process.stdout:
        if line.strip() == "ready":
            return line
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            continue
    return None


def measure(cases):
    """Returns the median images per second of each (model, variant) that works here."""
    processes = {case: start(*case) for case in cases}
    processes = {case: process for case, process in processes.items() if read(process)}
    seconds = {case: [] for case in processes}
    for _ in range(ROUNDS.value):
        for case, process in processes.items():
            process.stdin.write("\n")
            process.stdin.flush()
            seconds[case].append(read(process))
    for process in processes.values():
        process.stdin.close()
        process.wait()
    images = BATCH_SIZE.value * STEPS.value
    return {case: images / statistics.median(times) for case, times in seconds.items()}


def operations_per_image(name):
    """Returns the floating-point operations of a training step per image, by PyTorch's count."""
    import torch
    import torch_models
    from torch.utils.flop_counter import FlopCounterMode

    model = torch_models.create(name, WIDTH.value)
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)).backward()
    return counter.get_total_flops() / 2


def peak():
    """Returns the operations per second of a large bfloat16 matrix product on this GPU, or None."""
    import torch

    if not torch.cuda.is_available():
        return None
    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        matrix @ matrix
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(10):
        matrix @ matrix
    torch.cuda.synchronize()
    return 10 * 2 * 8192**3 / (time.perf_counter() - begin)


def main(argv):
    del argv
    if CHILD.value:
        child()
        return
    for variant in OURS.value:
        if variant.startswith("torch-"):
            raise app.UsageError(
                f"--ours={variant}: `torch` names plain PyTorch here. Choose another backend."
            )
    variants = [variant.replace("-", ":", 1) for variant in OURS.value]
    found_peak = None
    try:
        found_peak = peak()
        variants += [f"torch:{variant}" for variant in TORCH.value]
    except ImportError:
        print("PyTorch is not installed: its rows are left out.")
    speeds = measure([(name, variant) for name in MODELS.value for variant in variants])
    print("| model | variant | images/s | of PyTorch's best | of the bf16 peak |")
    print("|---|---|---|---|---|")
    for (name, variant), speed in speeds.items():
        baselines = [v for (n, k), v in speeds.items() if n == name and k.startswith("torch")]
        ratio = f"{speed / max(baselines):.2f}" if baselines else ""
        share = f"{speed * operations_per_image(name) / found_peak:.0%}" if found_peak else ""
        shown = f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}"
        print(f"| {name} | {variant} | {shown} | {ratio} | {share} |", flush=True)


if __name__ == "__main__":
    app.run(main)
