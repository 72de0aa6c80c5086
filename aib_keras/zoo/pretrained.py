"""Published weights: the zoo's index, and the files that it names, each verified before use."""

import contextlib
import dataclasses
import fnmatch
import functools
import hashlib
import json
import os
import pathlib
import re
import tempfile
import urllib.error
import urllib.request
import warnings

import keras
import numpy as np

from aib_keras.utils.checks import check_integer
from aib_keras.utils.files import read_json, write_json
from aib_keras.utils.optional import require
from aib_keras.utils.suggestions import did_you_mean
from aib_keras.zoo.weights_file import SUFFIXES

_ENVIRONMENT = "AIB_KERAS_ZOO"
_HUGGING_FACE = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^@]+))?")
# Seconds.
_TIMEOUT = 60
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """An entry of the zoo's index: the weights of one training.

    Attributes:
        model: Name of the zoo model.
        name: What to pass as `weights`.
        file: Path of the weights file, relative to the index.
        sha256: Hexadecimal digest of the file.
        settings: Dict of the arguments of the zoo function that the weights were trained with.
        class_names: Tuple of strings.
        error: Top-1 error on the test images in the last epoch, a share in [0, 1].
        evaluated_on: What the error was measured on.
        bytes: Integer, the size of the file.
        bundled: Boolean, whether the installed package contains the file.
        license: SPDX identifier of the weights' licence.
        command: The command line of the training.
        training: Dict of what the training left in its `result.json`.
    """

    model: str
    name: str
    file: str
    sha256: str
    settings: dict
    class_names: tuple
    error: float
    evaluated_on: str
    bytes: int
    bundled: bool
    license: str
    command: str
    training: dict

    @classmethod
    def from_index(cls, model, name, content):
        """Checks the content of an entry and returns it as an object; ValueError if it is bad."""
        where = f"The zoo's index has a bad entry {name!r} of {model}:"
        fields = {field.name for field in dataclasses.fields(cls)} - {"model", "name"}
        if not isinstance(content, dict) or fields != content.keys():
            found = sorted(content) if isinstance(content, dict) else content
            raise ValueError(f"{where} expected the fields {sorted(fields)}, got {found}.")
        file = pathlib.PurePosixPath(content["file"])
        if file.is_absolute() or ".." in file.parts or "\\" in content["file"]:
            raise ValueError(f"{where} the file {content['file']!r} is outside the zoo's folder.")
        if not content["file"].endswith(SUFFIXES):
            raise ValueError(f"{where} {content['file']!r} is not one of {SUFFIXES}.")
        if not _SHA256.fullmatch(str(content["sha256"])):
            raise ValueError(f"{where} {content['sha256']!r} is not a SHA-256 in lower case.")
        for field in ("settings", "training"):
            if not isinstance(content[field], dict):
                raise ValueError(f"{where} `{field}` must be an object, got {content[field]!r}.")
        settings = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content["settings"].items()
        }
        return cls(
            model,
            name,
            **{**content, "settings": settings, "class_names": tuple(content["class_names"])},
        )


def decode_predictions(logits, class_names, top=3):
    """Names the most probable classes.

        model = aib_keras.zoo.vgg_aib_qt(weights="cifar10")
        aib_keras.zoo.decode_predictions(model(images), "vgg_aib_qt/cifar10")

    Args:
        logits: Array `(B, num_classes)`.
        class_names: Strings, one per class; or "MODEL/NAME" of published weights, for those that
            they were trained on.
        top: Integer, classes per image.

    Returns:
        For each image a list of pairs (class name, probability), the most probable one first.

    Raises:
        ValueError: for another number of names than of classes, unknown weights, or a
            `top` below 1.
    """
    check_integer("top", top, minimum=1)
    if isinstance(class_names, str):
        model, _, name = class_names.partition("/")
        class_names = find(model, name).class_names
    logits = keras.ops.convert_to_numpy(logits)
    if logits.ndim != 2 or logits.shape[1] != len(class_names):
        raise ValueError(
            f"Expected logits (B, {len(class_names)}) for {len(class_names)} class names, got "
            f"shape {logits.shape}."
        )
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    best = np.argsort(-probabilities, axis=1)[:, :top]
    return [
        [(class_names[index], float(row[index])) for index in indices]
        for row, indices in zip(probabilities, best, strict=True)
    ]


def weights(model):
    """Lists the published weights of a zoo model.

        for entry in aib_keras.zoo.weights("vgg_aib_qt"):
            print(entry.name, entry.error, entry.bytes, entry.settings)

    Args:
        model: Name of the model.

    Returns:
        A list of entries, sorted by name. It is empty for a model without published weights. An
        entry has `name`, `settings` (a dict of arguments of the model's function), `class_names`,
        `error` (top-1 error on the test images, in [0, 1]), `evaluated_on`, `bytes`, `bundled`,
        `license`, `sha256`, `command`, and `training` (the `result.json` of the training run).

    Raises:
        ImportError: if `AIB_KERAS_ZOO` is `hf://...` and huggingface-hub is not installed.
        OSError: if the index cannot be read.
        ValueError: for a bad index.
    """
    _, index = read_index()
    entries = index.get(model, {})
    return [Pretrained.from_index(model, name, entries[name]) for name in sorted(entries)]


def matching(patterns):
    """Lists the published weights whose MODEL/NAME fits one of some patterns.

    Args:
        patterns: Strings such as `vgg/cifar10` or `*/cifar10*`.

    Returns:
        A list of `Pretrained`, sorted by model and name.

    Raises:
        ValueError: for a pattern that fits none, or a bad index.
    """
    entries = _entries()
    chosen = set()
    for pattern in patterns:
        found = fnmatch.filter(entries, pattern)
        if not found:
            raise ValueError(
                f"No published weights are called {pattern!r}."
                f"{did_you_mean(pattern, entries)} There are: {', '.join(entries) or 'none'}."
            )
        chosen.update(found)
    return [entry for label, entry in entries.items() if label in chosen]


def at_hand():
    """Lists the published weights whose files are on this machine.

    Returns:
        A list of `Pretrained`, sorted by model and name. It is empty for a zoo at a URL, which is
        not asked.

    Raises:
        ValueError: for a bad index.
    """
    base = _base()
    if _HUGGING_FACE.fullmatch(base) or _is_url(base):
        return []
    return [entry for entry in _entries().values() if (pathlib.Path(base) / entry.file).is_file()]


def _entries():
    """Returns all published weights, sorted: MODEL/NAME -> `Pretrained`."""
    _, index = read_index()
    return {f"{e.model}/{e.name}": e for model in sorted(index) for e in weights(model)}


def find(model, name):
    """Returns the `Pretrained` of a model called `name`; ValueError lists those that there are."""
    entries = {entry.name: entry for entry in weights(model)}
    if name not in entries:
        base, index = read_index()
        listing = "; ".join(f"{key}: {', '.join(sorted(sets))}" for key, sets in index.items())
        raise ValueError(
            f"The zoo at {base!r} has no weights {name!r} for {model}."
            f"{did_you_mean(str(name), entries)} It has {listing or 'none yet'}. `weights` can "
            f"also be a path that ends in {' or '.join(SUFFIXES)}."
        )
    return entries[name]


def fetch(entry):
    """Returns the local path of the file of a `Pretrained`, whose SHA-256 has been verified.

    Raises:
        ValueError: for a file that is not there, or has another SHA-256.
    """
    base = _base()
    if match := _HUGGING_FACE.fullmatch(base):
        path = pathlib.Path(_from_hugging_face(match, entry.file))
    elif _is_url(base):
        url = f"{base.rstrip('/')}/{entry.file}"
        try:
            return keras.utils.get_file(
                pathlib.PurePosixPath(entry.file).name,
                url,
                cache_subdir=f"aib_keras/{entry.sha256[:16]}",
                file_hash=entry.sha256,
                hash_algorithm="sha256",
            )
        except Exception as error:  # Keras raises no other type for what cannot be downloaded.
            raise ValueError(
                f"The weights {entry.name!r} of {entry.model} could not be fetched from {url}: "
                f"{error}"
            ) from error
    else:
        path = pathlib.Path(base) / entry.file
    if not path.is_file():
        raise ValueError(
            f"The weights {entry.name!r} of {entry.model} are not in {base!r}. The installed "
            f"package has only small files. Set {_ENVIRONMENT} to the zoo/ folder of a checkout, "
            "to its URL, or to hf://OWNER/NAME, and try again."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry.sha256:
        raise ValueError(
            f"{str(path)!r} is not the file that the index describes: its SHA-256 is {digest}, "
            f"expected {entry.sha256}. Fetch it again."
        )
    return path


def read_index():
    """Returns where the zoo is, and its index: model -> name -> fields of a `Pretrained`."""
    base = _base()
    if match := _HUGGING_FACE.fullmatch(base):
        path = _from_hugging_face(match, "index.json")
    elif _is_url(base):
        return base, _download_index(base)
    else:
        path = pathlib.Path(base) / "index.json"
        if not os.path.isfile(path):
            raise ValueError(
                f"There is no zoo at {base!r} (no index.json in it). Set {_ENVIRONMENT} to the "
                "folder or URL of a zoo, or give `weights` as a path."
            )
    return base, json.loads(pathlib.Path(path).read_text())


@functools.cache
def _download_index(base):
    """Returns the index of a zoo at a URL, once per process: it changes with every release.

    Without a network it is the one that was downloaded last, for weights that are there already.
    """
    url = f"{base.rstrip('/')}/index.json"
    kept = _keras_home() / "aib_keras" / f"index-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            index = json.load(answer)
    except (OSError, ValueError) as error:
        # A server that answers, with an error or with something else, has no such zoo any more.
        is_offline = isinstance(error, OSError) and not isinstance(error, urllib.error.HTTPError)
        if is_offline and kept.is_file():
            warnings.warn(
                f"{url} cannot be read ({error}): using the index that was downloaded before.",
                stacklevel=2,
            )
            return read_json(kept)
        raise ValueError(
            f"There is no zoo at {base!r}: {url} cannot be read ({error}). Check {_ENVIRONMENT} "
            "and the network, or give `weights` as a path."
        ) from error
    # A home that cannot be written to only means that the network is needed again.
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, index)
    return index


def _keras_home():
    """Returns the folder where `keras.utils.get_file` keeps what it downloads."""
    home = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    return home if os.access(home, os.W_OK) else pathlib.Path(tempfile.gettempdir(), ".keras")


def _base():
    # The wheel has the index beside this module (setup.py); in a checkout it is in zoo/.
    folder = pathlib.Path(__file__).resolve().parent
    if not (folder / "index.json").is_file():
        folder = folder.parents[1] / "zoo"
    return os.path.expanduser(os.environ.get(_ENVIRONMENT, str(folder)))


def _is_url(base):
    return base.startswith(("http://", "https://"))


def _from_hugging_face(match, file):
    hub = require("huggingface_hub", "A zoo on Hugging Face", "hub")
    return hub.hf_hub_download(match["repo"], file, revision=match["revision"])
