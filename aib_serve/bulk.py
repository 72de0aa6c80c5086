"""Explains many image files with a SavedModel: a row per image, in a folder of Parquet files.

The workers need TensorFlow and pyarrow, and neither Keras nor aib_keras. They run one after the
other here, or as actors of Ray on all cores or on a cluster.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from aib_serve.saved_model_path import check_no_pattern
from aib_serve.sources import find_files, is_uri, read

# Files per call of the SavedModel, which takes at most 128.
_BATCH = 64
_READERS = 8
_MANIFEST = "_manifest.json"
# In the metadata of each Parquet file and in the manifest, in the order of the probabilities.
_CLASS_NAMES = "class_names"
_SAVED_MODEL = "saved_model.pb"
_SIGNATURE = "classify_bytes"
# Of an error that another try may not have.
_UNREAD = "cannot be read: "
_LEVELS = 255
# The share of what a map has above its mean that lies beyond each side of the attended box.
_LEFT_OUT = 0.1


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        images: Integer, the rows in the folder.
        errors: Integer, those of them that are flagged.
        most_frequent_error: String, the most frequent text in the column `error`; "" if none is.
        new_parts: Integer, the Parquet files that this run wrote.
        parts: Integer, all Parquet files.
    """

    images: int
    errors: int
    new_parts: int
    parts: int
    most_frequent_error: str = ""


class Worker:
    """Loads a SavedModel once, and writes the rows of one part per call.

    Args:
        model: Path of a SavedModel that `aib_keras.export.to_saved_model` wrote.
        threads: Integer, threads of TensorFlow; None for all cores.
    """

    def __init__(self, model, threads=None):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self.tf = tf
        # The signature does not keep the variables alive; the object does.
        self.model = tf.saved_model.load(str(model))
        if _SIGNATURE not in self.model.signatures:
            raise ValueError(_no_signature(model))
        self.classify = self.model.signatures[_SIGNATURE]
        # Also for a file that is no image.
        (names,) = self.classify(image_bytes=tf.constant([b""]))["class_names"].numpy()
        self.class_names = [name.decode() for name in names]

    def __call__(self, part):
        """Writes a part.

        Args:
            part: Dict with `path`, the Parquet file to write, `files`, the image files, and
                `folder`, from which their paths start.

        Returns:
            A dict with `images` and `errors`, the number of rows and of flagged ones.
        """
        import pyarrow
        from pyarrow import parquet

        rows = []
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            for first in range(0, len(part["files"]), _BATCH):
                files = part["files"][first : first + _BATCH]
                contents = list(pool.map(lambda file: read(file, part["folder"]), files))
                rows += self._rows(files, contents)
        path = pathlib.Path(part["path"])
        schema = _schema().with_metadata({_CLASS_NAMES: json.dumps(self.class_names)})
        with _whole(path) as temporary:
            parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), temporary)
        return {"images": len(rows), "errors": sum(row["error"] != "" for row in rows)}

    def _rows(self, files, contents):
        data = [content if isinstance(content, bytes) else b"" for content in contents]
        outputs = self.classify(image_bytes=self.tf.constant(data, self.tf.string))
        outputs = {name: value.numpy() for name, value in outputs.items()}
        rows = []
        for index, (file, content) in enumerate(zip(files, contents, strict=True)):
            error = outputs["error"][index].decode()
            if not isinstance(content, bytes):
                error = f"{_UNREAD}{content}"
            # A name that is not UTF-8 is shown as far as it is.
            row = {"path": str(file).encode(errors="replace").decode(), "error": error}
            if not error:
                row |= _answer({name: values[index] for name, values in outputs.items()})
            rows.append(row)
        return rows


def _answer(outputs):
    probabilities = outputs["probabilities"].astype("float32")
    row = {
        "predicted_class": outputs["predicted_class"].decode(),
        "probability": float(probabilities.max()),
        "probabilities": probabilities.tolist(),
    }
    if "attention" not in outputs:
        return row
    values = outputs["attention"][..., 0].astype("float64")
    low, high = values.min(), values.max()
    levels = np.round((values - low) / max(high - low, 1e-12) * _LEVELS).astype("uint8")
    top, left, bottom, right = outputs["attention_box"].tolist()
    first_row, last_row, first_column, last_column = _attended(values)
    cell_height, cell_width = (bottom - top) / len(levels), (right - left) / levels.shape[1]
    return {
        **row,
        "map": levels.tobytes(),
        "map_height": len(levels),
        "map_width": levels.shape[1],
        "map_low": float(low),
        "map_high": float(high),
        "attended_box": [
            top + cell_height * first_row,
            left + cell_width * first_column,
            top + cell_height * (last_row + 1),
            left + cell_width * (last_column + 1),
        ],
    }


def _attended(values):
    """Returns the first and last row and column of the cells that a map is about.

    What is above the map's mean counts, by how much it is. A tenth of it is left out on each side,
    because single cells that stand out at the edges would make every box the whole image.
    """
    excess = np.maximum(values - values.mean(), 0)
    if not excess.any():
        excess = np.ones_like(values)
    found = []
    for axis in (1, 0):
        shares = np.cumsum(excess.sum(axis=axis)) / excess.sum()
        found += [int(np.searchsorted(shares, _LEFT_OUT, "right"))]
        found += [int(np.searchsorted(shares, 1 - _LEFT_OUT))]
    return found


def _schema():
    import pyarrow as pa

    return pa.schema(
        [
            ("path", pa.string()),
            ("predicted_class", pa.string()),
            ("probability", pa.float32()),
            ("probabilities", pa.list_(pa.float32())),
            # uint8, row by row; value = map_low + byte / 255 * (map_high - map_low).
            ("map", pa.binary()),
            ("map_height", pa.int32()),
            ("map_width", pa.int32()),
            ("map_low", pa.float32()),
            ("map_high", pa.float32()),
            # y0, x0, y1, x1 as shares of the height and width of the upright image.
            ("attended_box", pa.list_(pa.float32())),
            ("error", pa.string()),
        ]
    )


def explain_files(source, model, out, part_size=2_000, workers=None, progress=True):
    """Explains image files and writes a row per file.

    The rows are in `out/part-00000.parquet` and so on, in the order of the sorted paths:
    `path`, `predicted_class`, `probability`, `probabilities`, the map as bytes (`map`, uint8 row by
    row, `map_height`, `map_width`, and its range, `map_low` and `map_high`), `attended_box` and
    `error`, which is "" for a good file. A bad file does not stop the run. `attended_box` is y0,
    x0, y1, x1 in shares of the sides of the upright image, as `aib_serve.orientation.upright`
    turns it: of what the map has above its mean, at most a tenth lies above the box, and at most as
    much below, left and right of it. The names of the classes, in the order of `probabilities`, are
    under `class_names` in `out/_manifest.json` and in the metadata of each Parquet file, as JSON.

    The same call again goes on with the parts that are missing, and with those that have files that
    could not be read, such as from a store that did not answer. Only one part per worker is in
    memory.

    Args:
        source: As in `find_files`.
        model: Path of a SavedModel that `aib_keras.export.to_saved_model` wrote.
        out: Path of a folder, new or of this very run. On a cluster, all hosts must see it, and
            the files and the model, under the same paths.
        part_size: Integer, the images per Parquet file.
        workers: Integer, processes that Ray runs, on this machine or on the cluster that
            `RAY_ADDRESS` names. None runs in this process, without Ray.
        progress: Boolean, whether to print a line per part.

    Returns:
        A `Summary`.

    Raises:
        ImportError: without pyarrow, or Ray for `workers`.
        ValueError: if there are no images, `model` is no such SavedModel, `out` is of another run
            or a URI, or `part_size` is below 1.
        RuntimeError: if a process of Ray fails.
    """
    from pyarrow import parquet

    if part_size < 1:
        raise ValueError(f"`part_size` must be at least 1, got {part_size}.")
    files = find_files(source)
    out, model = _local_folder(out), str(model)
    if not is_uri(model):
        model = str(pathlib.Path(model).expanduser().absolute())
    _check_model(model)
    manifest = _checked_manifest(out, files, model, part_size)
    parts = [
        {
            "path": str(out / f"part-{number:05d}.parquet"),
            "files": files[first : first + part_size],
            # Processes on a cluster start elsewhere.
            "folder": os.getcwd(),
        }
        for number, first in enumerate(range(0, len(files), part_size))
    ]
    missing = [part for part in parts if not _is_finished(part["path"])]
    run = _with_ray if workers else _here
    # A model that cannot be loaded leaves no folder.
    results = run(missing, model, workers) if missing else ()
    out.mkdir(parents=True, exist_ok=True)
    _write_manifest(out, manifest)
    try:
        for done, result in enumerate(results, start=1):
            if progress:
                print(
                    f"part {done} of {len(missing)}: {result['images']} images, "
                    f"{result['errors']} flagged",
                    flush=True,
                )
    finally:
        # A run that has written nothing does not keep the folder from another one.
        if [path.name for path in out.iterdir()] == [_MANIFEST]:
            (out / _MANIFEST).unlink(missing_ok=True)
    texts = [text for part in parts for text in _errors(part["path"])]
    counts = collections.Counter(text for text in texts if text)
    most_frequent = counts.most_common(1)[0][0] if counts else ""
    if names := (parquet.read_schema(parts[0]["path"]).metadata or {}).get(_CLASS_NAMES.encode()):
        _write_manifest(out, {**manifest, _CLASS_NAMES: json.loads(names)})
    return Summary(len(texts), counts.total(), len(missing), len(parts), most_frequent)


def _errors(path):
    """Returns the error of each row of a part."""
    from pyarrow import parquet

    return parquet.read_table(path, columns=["error"])["error"].to_pylist()


def _is_finished(path):
    """Returns whether a part is there, and all of its files could be read."""
    if not os.path.exists(path):
        return False
    return not any(text.startswith(_UNREAD) for text in _errors(path))


def _local_folder(out):
    """Returns the absolute path of the folder to write to."""
    if is_uri(str(out)):
        raise ValueError(
            f"`out` must be a local folder, got {str(out)!r}. Write to a local or mounted folder, "
            "then copy it."
        )
    return pathlib.Path(out).expanduser().absolute()


def _check_model(model):
    """Raises a ValueError for a path that is not that of a SavedModel with our signature."""
    path = pathlib.Path(model)
    if is_uri(str(model)):
        return
    check_no_pattern(path)
    if (path / _SAVED_MODEL).is_file():
        # Without TensorFlow, and before processes of Ray start.
        if _SIGNATURE.encode() not in (path / _SAVED_MODEL).read_bytes():
            raise ValueError(_no_signature(model))
        return
    message = (
        "`model` must be the folder of a SavedModel, such as saved_model/ beside a model.keras; "
        f"{str(model)!r} has no {_SAVED_MODEL} in it."
    )
    for near in (path / "saved_model", path.parent / "saved_model"):
        if (near / _SAVED_MODEL).is_file():
            raise ValueError(f"{message} Did you mean {str(near)!r}?")
    raise ValueError(f"{message} aib_keras.export.to_saved_model makes one of a Keras model.")


def _no_signature(model):
    return (
        f"{str(model)!r} has no signature `{_SIGNATURE}`. Export a model of colour images that has "
        "preprocessing by aib_keras.export.to_saved_model. If the backbone takes images in "
        "[0, 255], make it by attach(..., preprocessing=keras.layers.Identity())."
    )


def _checked_manifest(out, files, model, part_size):
    """Returns the manifest of a run, and checks that its folder is new or of this run."""
    digest = hashlib.sha256("\n".join(files).encode(errors="surrogateescape")).hexdigest()
    manifest = {
        "files": digest,
        "count": len(files),
        "model": _model_digest(model),
        "part_size": part_size,
    }
    path = out / _MANIFEST
    if path.is_file():
        found = json.loads(path.read_text())
        different = [name for name in manifest if found.get(name) != manifest[name]]
        if different:
            raise ValueError(
                f"{out} holds another run: {', '.join(different)} differ. Choose another folder."
            )
    elif out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty. Choose a new folder.")
    return manifest


def _model_digest(model):
    """Returns a digest of a SavedModel: one of the same path may be another, exported since."""
    if is_uri(model):
        return model
    digest = hashlib.sha256()
    for path in sorted(path for path in pathlib.Path(model).rglob("*") if path.is_file()):
        digest.update(path.relative_to(model).as_posix().encode(errors="surrogateescape"))
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _write_manifest(out, manifest):
    with _whole(out / _MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest))


@contextlib.contextmanager
def _whole(path):
    """Yields a temporary path to write to, and then moves it to `path`: no half of a file."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _here(parts, model, workers):
    del workers
    return map(Worker(model), parts)


def _with_ray(parts, model, workers):
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Not in the generator: without Ray, no folder is made.
    import ray

    return _results_of_ray(ray, parts, model, workers)


def _results_of_ray(ray, parts, model, workers):
    started = not ray.is_initialized()
    if started:
        ray.init(logging_level="ERROR", log_to_driver=False)
    try:
        # A row is the list of the files of a part, so little data flows whatever the images.
        dataset = ray.data.from_items(parts, override_num_blocks=len(parts))
        results = dataset.map(
            Worker,
            fn_constructor_kwargs={"model": str(model), "threads": 1},
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        yield from results.iter_rows()
    except ray.exceptions.RayError as error:
        raise RuntimeError(
            f"A process of Ray failed: {error} What is written stays: the same call goes on with "
            "the rest."
        ) from error
    finally:
        if started:
            ray.shutdown()
