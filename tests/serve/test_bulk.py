"""Many image files through a SavedModel into Parquet files."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from aib_serve import bulk, sources

parquet = pytest.importorskip("pyarrow.parquet")
tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

if keras.backend.backend() != "tensorflow":
    pytest.skip("the SavedModel is exported on TensorFlow", allow_module_level=True)

from small import small_classifier  # noqa: E402

from aib_keras import export  # noqa: E402

NAMES = tuple("abcdefghij")
BAD = {3: b"", 11: b"not an image"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose map differs between images, and its SavedModel."""
    keras.utils.set_random_seed(0)
    model = small_classifier()
    path = tmp_path_factory.mktemp("model") / "saved"
    export.to_saved_model(model, path, class_names=NAMES)
    return model, path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of 23 files in two folders, two of which are no images."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(23):
        path = folder / str(index % 2) / f"{index:03d}.png"
        path.parent.mkdir(exist_ok=True)
        if index in BAD:
            path.write_bytes(BAD[index])
        else:
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype="uint8")).save(path)
    (folder / "notes.txt").write_text("no image")
    return folder


def read(out):
    rows = []
    for path in sorted(out.glob("part-*.parquet")):
        rows += parquet.read_table(path).to_pylist()
    return rows


@pytest.fixture(scope="module")
def explained(model, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "maps.parquet"
    return out, bulk.explain_files(images, model[1], out, part_size=10, progress=False)


def test_every_file_has_a_row_and_bad_ones_are_flagged(explained, images):
    out, summary = explained
    rows = read(out)
    assert [row["path"] for row in rows] == sorted(map(str, images.rglob("*.png")))
    flagged = {row["path"][-7:-4] for row in rows if row["error"]}
    assert flagged == {f"{index:03d}" for index in BAD}
    assert summary == bulk.Summary(23, 2, 3, 3, "not a JPEG, PNG or WebP image")
    for row in rows:
        assert (row["predicted_class"] is None) == bool(row["error"])


def test_a_row_has_what_the_model_computes(explained, model):
    row = next(row for row in read(explained[0]) if not row["error"])
    image = np.asarray(Image.open(row["path"]))[None]
    expected = model[0].explain(image)
    logits = expected["logits"][0]
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(row["probabilities"], probabilities, atol=1e-5)
    assert row["predicted_class"] == NAMES[probabilities.argmax()]
    levels = np.frombuffer(row["map"], "uint8").reshape(row["map_height"], row["map_width"])
    found = row["map_low"] + levels / 255 * (row["map_high"] - row["map_low"])
    step = (row["map_high"] - row["map_low"]) / 255
    np.testing.assert_allclose(found, expected["attention"][0, ..., 0], atol=step + 1e-5)
    top, left, bottom, right = row["attended_box"]
    # A tenth of what is above the mean lies beyond each side, up to the row or column at the side.
    excess = np.maximum(found - found.mean(), 0) / np.maximum(found - found.mean(), 0).sum()
    for low, high, axis in ((top, bottom, 1), (left, right, 0)):
        shares = excess.sum(axis=axis)
        first, last = round(16 * low), round(16 * high)
        assert shares[:first].sum() <= 0.1 + 1e-3 <= shares[: first + 1].sum() + 2e-3
        assert shares[last:].sum() <= 0.1 + 1e-3 <= shares[last - 1 :].sum() + 2e-3


def test_single_cells_at_the_edges_do_not_make_the_box_the_whole_image():
    values = np.zeros((14, 14))
    values[4:8, 6:11] = 1
    values[0, 0] = values[13, 13] = 0.9
    assert bulk._attended(values) == [4, 7, 6, 10]
    assert bulk._attended(np.full((4, 6), 0.3)) == [0, 3, 0, 5]


def test_the_same_call_goes_on_with_what_is_missing(explained, model, images, tmp_path):
    out = tmp_path / "maps.parquet"
    bulk.explain_files(images, model[1], out, part_size=10, progress=False)
    first = (out / "part-00000.parquet").stat().st_mtime_ns
    # As a kill in the middle of a part leaves it.
    (out / "part-00001.parquet").rename(out / ".partial-part-00001.parquet")
    summary = bulk.explain_files(images, model[1], out, part_size=10, progress=False)
    assert summary == bulk.Summary(23, 2, 1, 3, "not a JPEG, PNG or WebP image")
    assert (out / "part-00000.parquet").stat().st_mtime_ns == first
    assert read(out) == read(explained[0])


def test_a_list_of_files_works_and_missing_files_are_flagged(model, images, tmp_path):
    files = [*sorted(map(str, images.rglob("*.png")))[:2], str(tmp_path / "gone.png")]
    listing = tmp_path / "files.txt"
    listing.write_text("\n".join(files) + "\n")
    bulk.explain_files(listing, model[1], tmp_path / "out", progress=False)
    rows = {row["path"]: row["error"] for row in read(tmp_path / "out")}
    assert rows.keys() == set(files)
    assert rows[files[2]].startswith("cannot be read: [Errno 2] No such file")
    # The store answers again.
    (tmp_path / "gone.png").write_bytes(pathlib.Path(files[0]).read_bytes())
    summary = bulk.explain_files(listing, model[1], tmp_path / "out", progress=False)
    assert summary == bulk.Summary(images=3, errors=0, new_parts=1, parts=1)
    summary = bulk.explain_files(listing, model[1], tmp_path / "out", progress=False)
    assert summary.new_parts == 0


def test_every_image_of_a_phone_has_a_row(model, images, tmp_path):
    (tmp_path / "photo.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    summary = bulk.explain_files(tmp_path, model[1], tmp_path / "out", progress=False)
    assert summary == bulk.Summary(1, 1, 1, 1, "not a JPEG, PNG or WebP image")


def test_a_single_image_and_the_names_of_the_classes(explained, model, images, tmp_path):
    (file,) = images.rglob("000.png")
    bulk.explain_files(file, model[1], tmp_path / "one", progress=False)
    (row,) = read(tmp_path / "one")
    wanted = next(each for each in read(explained[0]) if each["path"] == str(file))
    assert row["predicted_class"] == wanted["predicted_class"]
    np.testing.assert_allclose(row["probabilities"], wanted["probabilities"], atol=1e-6)
    assert bulk.find_files(file.as_uri()) == [file.as_uri()]
    # In the order of the probabilities.
    names = json.loads((tmp_path / "one" / "_manifest.json").read_text())["class_names"]
    assert names[np.argmax(row["probabilities"])] == row["predicted_class"]
    assert names == list(NAMES)
    schema = parquet.read_schema(tmp_path / "one" / "part-00000.parquet")
    assert json.loads(schema.metadata[b"class_names"]) == names


def test_what_is_no_saved_model_leaves_no_folder(model, images, tmp_path):
    out = tmp_path / "out"
    saved = model[1].parent / "saved_model"
    saved.symlink_to(model[1])
    with pytest.raises(ValueError, match=f"Did you mean '{saved}'?"):
        bulk.explain_files(images, model[1].parent / "model.keras", out)
    with pytest.raises(ValueError, match="to_saved_model makes one"):
        bulk.explain_files(images, tmp_path / "nowhere.keras", out)
    without = tmp_path / "without"
    tf.saved_model.save(tf.Module(), without)
    with pytest.raises(ValueError, match="no signature `classify_bytes`"):
        bulk.explain_files(images, without, out)
    pattern = shutil.copytree(without, tmp_path / "birds [2024]")
    with pytest.raises(ValueError, match="TensorFlow takes this for a pattern"):
        bulk.explain_files(images, pattern, out)
    assert not out.exists()


def test_a_file_that_is_neither_an_image_nor_text_is_an_error(tmp_path):
    (tmp_path / "photo.dng").write_bytes(b"\xff\xd8")
    with pytest.raises(ValueError, match=r"photo.dng' is no text file.*\.jpeg"):
        bulk.find_files(tmp_path / "photo.dng")


def test_a_store_is_read_by_its_uri(explained, model, images, tmp_path):
    # `file://` goes the way of `s3://`: through pyarrow's file systems.
    uri = images.as_uri()
    bulk.explain_files(f"{uri}/", model[1], tmp_path / "out", part_size=10, progress=False)
    rows = read(tmp_path / "out")
    expected = [row | {"path": f"file://{row['path']}"} for row in read(explained[0])]
    assert rows == expected
    bulk.explain_files([f"{uri}/gone.png"], model[1], tmp_path / "list", progress=False)
    assert "gone.png" in read(tmp_path / "list")[0]["error"]
    with pytest.raises(ValueError, match="no folder 'file:///nowhere'"):
        bulk.find_files("file:///nowhere")
    with pytest.raises(ValueError, match="pyarrow cannot open 'ftps://photos'"):
        bulk.find_files("ftps://photos")


def test_names_in_a_store_can_be_any(tmp_path):
    rng = np.random.default_rng(0)
    contents = {}
    for name in ("IMG 001.png", "a%20b.png", "what?.png", "äö#.png"):
        path = tmp_path / "photos" / "of 2026" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype("uint8")).save(path)
        contents[name] = path.read_bytes()
    found = bulk.find_files((tmp_path / "photos").as_uri())
    assert len(found) == 4
    assert sorted(map(bulk.read, found)) == sorted(contents.values())
    # What no store has is the answer for that file, not the end of the run.
    for bad in ("file://nowhere/1.png", "s3://a b/c d.png"):
        assert isinstance(bulk.read(bad), (OSError, ValueError))


def test_settings_of_a_store_stay_at_the_end(monkeypatch, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    filesystem = sources._filesystem((tmp_path).as_uri())
    monkeypatch.setattr(sources, "_filesystem", lambda uri: filesystem)
    assert bulk.find_files("s3://bucket/photos?region=eu-west-1") == [
        "s3://bucket/photos/a.png?region=eu-west-1"
    ]


def test_an_exported_model_of_the_same_path_is_another_run(explained, model, images, tmp_path):
    saved = tmp_path / "saved"
    shutil.copytree(model[1], saved)
    first = bulk.explain_files(images, saved, tmp_path / "maps", progress=False)
    # Another place, the same model.
    again = bulk.explain_files(images, model[1], tmp_path / "maps", progress=False)
    assert (again.images, again.new_parts) == (first.images, 0)
    (saved / "fingerprint.pb").write_bytes(b"another model")
    with pytest.raises(ValueError, match="another run: model differ"):
        bulk.explain_files(images, saved, tmp_path / "maps", progress=False)


def test_relative_paths_start_where_the_call_was_made(
    explained, model, images, tmp_path, monkeypatch
):
    here = bulk._here

    def elsewhere(*arguments):
        monkeypatch.chdir(tmp_path)  # As processes of Ray on a cluster do.
        return here(*arguments)

    monkeypatch.setattr(bulk, "_here", elsewhere)
    shutil.copytree(images, tmp_path / "call" / "photos")
    shutil.copytree(model[1], tmp_path / "call" / "saved")
    monkeypatch.chdir(tmp_path / "call")
    summary = bulk.explain_files("photos", "saved", "maps", progress=False)
    assert (summary.images, summary.errors) == (23, 2)
    rows = read(tmp_path / "call" / "maps")
    assert [row["path"] for row in rows][:2] == ["photos/0/000.png", "photos/0/002.png"]
    for row, wanted in zip(rows, read(explained[0]), strict=True):
        assert row["predicted_class"] == wanted["predicted_class"]


def test_files_are_found_as_training_finds_them(images, tmp_path):
    folder = tmp_path / "photos"
    (folder / ".thumbnails").mkdir(parents=True)
    shutil.copy(images / "0" / "000.png", folder / ".thumbnails" / "000.png")
    (folder / "linked").symlink_to(images / "0")
    (folder / "above").symlink_to(folder)
    (folder / "scan.png").mkdir()
    found = bulk.find_files(folder)
    assert found
    assert {str(pathlib.Path(file).parent) for file in found} == {str(folder / "linked")}


def test_a_list_can_begin_with_the_mark_of_windows(images, tmp_path):
    file = str(images / "0" / "000.png")
    (tmp_path / "list.txt").write_text(f"{file}\n", encoding="utf-8-sig")
    assert bulk.find_files(tmp_path / "list.txt") == [file]


def test_a_path_can_be_in_the_home_folder(images, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(images))
    (tmp_path / "list.txt").write_text("~/0/000.png\n")
    first = str(images / "0" / "000.png")
    assert bulk.find_files("~/0")[0] == first
    assert bulk.find_files(tmp_path / "list.txt") == bulk.find_files(["~/0/000.png"]) == [first]


def test_a_run_that_has_written_nothing_does_not_keep_the_folder(
    model, images, tmp_path, monkeypatch
):
    def fail(worker, part):
        raise RuntimeError("The first part fails.")

    with monkeypatch.context() as patch:
        patch.setattr(bulk.Worker, "__call__", fail)
        with pytest.raises(RuntimeError, match="first part"):
            bulk.explain_files(images, model[1], tmp_path / "maps", part_size=10)
    summary = bulk.explain_files(images, model[1], tmp_path / "maps", progress=False)
    assert (summary.images, summary.parts) == (23, 1)


def test_where_it_cannot_write_is_told_before_any_work(model, images):
    with pytest.raises(ValueError, match="`out` must be a local folder, got 's3://bucket/maps'"):
        bulk.explain_files(images, model[1], "s3://bucket/maps")
    with pytest.raises(ValueError, match="`part_size` must be at least 1, got 0"):
        bulk.explain_files(images, model[1], "maps", part_size=0)


def test_another_run_does_not_mix_with_the_first(explained, model, images, tmp_path):
    with pytest.raises(ValueError, match="another run: part_size differ"):
        bulk.explain_files(images, model[1], explained[0], part_size=7)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="not empty"):
        bulk.explain_files(images, model[1], tmp_path)
    with pytest.raises(ValueError, match="no folder, no image and no list"):
        bulk.explain_files(tmp_path / "nowhere", model[1], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image files"):
        bulk.explain_files(tmp_path / "empty", model[1], tmp_path / "out")


@pytest.mark.slow
# Of Ray's own, inside it.
@pytest.mark.filterwarnings("ignore")
def test_ray_writes_the_same_rows(explained, model, images, tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "maps.parquet"
    summary = bulk.explain_files(images, model[1], out, part_size=10, workers=2, progress=False)
    assert summary == explained[1]
    rows, expected = read(out), read(explained[0])
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert (row["error"], row["predicted_class"]) == (
            wanted["error"],
            wanted["predicted_class"],
        )
        if not row["error"]:
            np.testing.assert_allclose(row["probabilities"], wanted["probabilities"], atol=1e-5)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "saved_model.pb").write_bytes(b"classify_bytes")
    with pytest.raises(RuntimeError, match="A process of Ray failed"):
        bulk.explain_files(images, damaged, tmp_path / "none", workers=1, progress=False)
    assert list((tmp_path / "none").iterdir()) == []
