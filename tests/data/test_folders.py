import os
import struct

import numpy as np
import pytest
from PIL import Image

from aib_keras.data import folder_digest, load, load_files, pixels
from aib_keras.data.loading import is_own

SPLITS = ("train", "test")


def save(path, array=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), 90, np.uint8) if array is None else array).save(
        path, **options
    )


@pytest.fixture
def root(tmp_path):
    """Two classes of ten images, whose grey says which class and which file."""
    for label, name in enumerate(("ant", "bee")):
        for i in range(10):
            save(tmp_path / name / f"{i}.png", np.full((6, 8, 3), 100 * label + i, np.uint8))
    return tmp_path


def greys(data):
    return data.images[:, 0, 0, 0].tolist()


def test_hash_split(root):
    train, test = load(root, "train"), load(str(root), "test")
    assert train.class_names == ("ant", "bee")
    assert np.bincount(train.labels).tolist() == [8, 8]
    assert np.bincount(test.labels).tolist() == [2, 2]
    assert sorted(greys(train) + greys(test)) == [*range(10), *range(100, 110)]
    assert [grey >= 100 for grey in greys(train)] == train.labels.astype(bool).tolist()
    # Mixed classes, so that a slice has both.
    assert 0 < train.labels[:8].sum() < 8
    assert greys(load(root, "train")) == greys(train)


def test_hash_split_does_not_depend_on_the_place(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "moved"
    before = greys(load(root, "test"))
    root.rename(other)
    assert greys(load(other, "test")) == before


@pytest.mark.parametrize(
    ("train_name", "test_name"),
    [("train", "test"), ("train", "val"), ("train", "validation"), ("train", "valid")]
    + [("Training", "Testing"), ("training_set", "test_set"), ("TRAIN", "Val")],
)
def test_presplit(tmp_path, train_name, test_name):
    for split, grey in ((train_name, 1), (test_name, 2)):
        for name in ("ant", "bee"):
            save(tmp_path / split / name / "deep" / "x.png", np.full((4, 4, 3), grey, np.uint8))
    assert greys(load(tmp_path, "train")) == [1, 1]
    assert greys(load(tmp_path, "test")) == [2, 2]


def test_slices_and_resizing(root):
    train = load(root, "train")
    assert greys(load(root, "train[4:10]")) == greys(train)[4:10]
    data = load(root, "train[75%:]", image_size=(3, 5))
    assert data.images.shape == (4, 3, 5, 3)
    assert greys(data) == greys(train)[12:]


def test_other_files_are_skipped(root):
    (root / "ant" / "notes.txt").write_text("x")
    (root / "ant" / ".DS_Store").write_text("x")
    (root / "ant" / ".hidden.png").write_text("x")
    (root / ".cache").mkdir()
    (root / "README.md").write_text("x")
    (root / "ant" / "a.xcf").write_text("x")
    (root / "bee" / "b.xcf").write_text("x")
    with pytest.warns(UserWarning, match=r"a\.xcf") as caught:
        assert len(load(root)) == 16
    assert len(caught) == 1


def decoded(tmp_path, image, name="x.png", **options):
    image.save(tmp_path / name, **options)
    return pixels.decode(tmp_path / name)


def test_modes(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    rgb = np.repeat(grey[..., None], 3, axis=-1)

    def read(image, *args, **options):
        return decoded(tmp_path, image, *args, **options)

    np.testing.assert_array_equal(read(Image.fromarray(grey)), rgb)
    np.testing.assert_array_equal(read(Image.fromarray(rgb).quantize(256)), rgb)
    deep = grey.astype(np.uint16) * 256 + 7
    np.testing.assert_array_equal(read(Image.fromarray(deep)), rgb)
    np.testing.assert_array_equal(read(Image.fromarray(deep), "x.tif"), rgb)
    assert read(Image.new("1", (3, 2), 1)).tolist() == [[[255] * 3] * 3] * 2
    cmyk = read(Image.new("CMYK", (3, 2), (255, 0, 0, 0)), "x.tif")
    assert cmyk[0, 0].tolist() == [0, 255, 255]


def test_transparency_is_composited_over_white(tmp_path):
    half = decoded(tmp_path, Image.new("RGBA", (2, 2), (0, 0, 200, 128)))
    np.testing.assert_allclose(half[0, 0], [127, 127, 227], atol=1)
    assert decoded(tmp_path, Image.new("LA", (2, 2), (0, 0)))[0, 0].tolist() == [255] * 3
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([9, 9, 9])
    assert decoded(tmp_path, palette, transparency=0)[0, 0].tolist() == [255] * 3


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoded(tmp_path, Image.new("RGB", (8, 4)), "x.jpg", exif=exif).shape == (8, 4, 3)
    # The unit of the resolution as text: an entry of a wrong type, which is none of ours.
    directory = struct.pack("<HHHIHHHHI4sI", 2, 0x0112, 3, 1, 6, 0, 0x0128, 2, 2, b"2", 0)
    strange = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory
    assert decoded(tmp_path, Image.new("RGB", (8, 4)), "x.jpg", exif=strange).shape == (8, 4, 3)
    broken = decoded(tmp_path, Image.new("RGB", (8, 4)), "x.jpg", exif=b"Exif\0\0broken")
    assert broken.shape == (4, 8, 3)
    # As a SavedModel, which reads it of JPEG files alone.
    for name in ("x.png", "x.webp"):
        assert decoded(tmp_path, Image.new("RGB", (8, 4)), name, exif=exif).shape == (4, 8, 3)


def test_a_file_for_another_program_is_not_an_image(tmp_path):
    """Pillow would have Ghostscript run it."""
    (tmp_path / "x.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        pixels.decode(tmp_path / "x.jpg")


def test_the_digest_of_a_folder_follows_links_and_knows_dead_ones(root, tmp_path):
    before = folder_digest(root)
    os.symlink(root / "ant", root / "linked")
    linked = folder_digest(root)
    assert linked != before
    os.symlink(root, root / "ant" / "above")
    os.symlink(root / "nowhere.png", root / "ant" / "dead.png")
    assert folder_digest(root) == linked


def test_linked_folders_within_a_class_are_read(root, tmp_path_factory):
    more = tmp_path_factory.mktemp("more")
    for index in range(5):
        save(more / f"{index}.png")
    (root / "ant" / "more").symlink_to(more)
    # Back to where the link is.
    (more / "again").symlink_to(root / "ant")
    assert len(load(root, "train")) + len(load(root, "test")) == 25


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2**32 + 1], "labels must be less than 100,000"),
        ([0, 2_000_000], "labels must be less than 100,000"),
        ([0, -1], "the negative label -1"),
    ],
)
def test_labels_that_are_none_are_refused(root, labels, message):
    paths = [root / "ant" / "0.png", root / "bee" / "0.png"]
    with pytest.raises(ValueError, match=message):
        load_files(paths, labels)


def test_what_is_not_an_example_does_not_change_the_digest(root, tmp_path):
    before = folder_digest(root)
    save(root / "montage.jpg")
    save(root / ".trash" / "1.png")
    save(root / "ant" / ".thumbnails" / "1.png")
    assert folder_digest(root) == before


def test_a_folder_can_have_a_comma_in_its_name(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ant", "bee"):
        save(tmp_path / "cats,dogs" / name / "1.png")
    assert is_own("cats,dogs")
    assert is_own("a.npz,b.npz")


def test_resizing_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    save(tmp_path / "x.png", stripes)
    small = pixels.decode(tmp_path / "x.png", (16, 16))
    assert np.abs(small.astype(int) - 127).max() < 12


def test_corrupt_and_truncated(root):
    path = root / "ant" / "0.png"
    split = "train" if 0 in greys(load(root, "train")) else "test"
    whole = root / "whole.jpg"
    save(whole, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = whole.read_bytes()
    for broken in (b"", b"nonsense", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"0\.png cannot be read.*replace it or remove it"):
            load(root, split, image_size=8)


@pytest.mark.parametrize("image_size", [None, 8])
def test_all_files_that_cannot_be_read_are_named_at_once(root, image_size):
    bees = {split: [g - 100 for g in greys(load(root, split)) if g >= 100] for split in SPLITS}
    # Of the whole folder, whichever split they are in.
    files = [root / "bee" / f"{index}.png" for index in sorted([*bees["test"], bees["train"][0]])]
    for path in files:
        path.write_bytes(b"nonsense")
    for split in SPLITS:
        with pytest.raises(ValueError, match="3 of 20 files cannot be read as images") as found:
            load(root, split, image_size=image_size)
        _, *lines = str(found.value).splitlines()
        assert [line.split()[0] for line in lines] == list(map(str, files))
    for index in range(10):
        (root / "ant" / f"{index}.png").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="13 of 20 files") as found:
        load(root, image_size=image_size)
    assert len(str(found.value).splitlines()) == 12
    assert str(found.value).endswith("\n  and 3 more")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_and_floats(root, tmp_path, monkeypatch):
    floats = tmp_path / "float.tif"
    Image.fromarray(np.ones((2, 2), np.float32)).save(floats)
    with pytest.raises(ValueError, match=r"float\.tif.*8 or 16 bits"):
        pixels.decode(floats)
    for limit in (30, 10):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"\.png is too large"):
            load(root)


def test_different_sizes_name_two_files(root):
    for i in range(10):
        save(root / "bee" / f"{i}.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"(?s)\.png is \dx\d and .*\.png is \dx\d.*image_size"):
        load(root)
    assert load(root, image_size=6).input_shape == (6, 6, 3)


def test_memory_is_guarded(root, monkeypatch):
    monkeypatch.setattr(pixels, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"16 images of 6x8 .*smaller image_size"):
        load(root, stream=False)
    assert len(load(root, image_size=2, stream=False)) == 16


def test_structure_errors(root):
    (root / "cow").mkdir()
    with pytest.raises(ValueError, match="cow has no images"):
        load(root)
    (root / "cow" / "1.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cow has no images.*\(\*\.heic\) are not read"):
        load(root)
    (root / "cow" / "1.heic").unlink()
    save(root / "cow" / "1.png")
    with pytest.raises(ValueError, match="cow has one image"):
        load(root)
    with pytest.raises(ValueError, match="no split 'dev'"):
        load(root, "dev")


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_names_that_are_not_utf_8(root):
    save(root / os.fsdecode(b"ant/\xff.png"), np.full((6, 8, 3), 50, np.uint8))
    assert 50 in greys(load(root, "train")) + greys(load(root, "test"))
    save(root / os.fsdecode(b"caf\xe9") / "1.png")
    with pytest.raises(ValueError, match=r"not valid UTF-8, b'caf\\xe9': rename it"):
        load(root)


def test_too_few_classes(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}.*it has none"):
        load(tmp_path / os.curdir)
    save(tmp_path / "ant" / "1.png")
    with pytest.raises(ValueError, match=f"{tmp_path}.*'ant'"):
        load(tmp_path)


def test_split_folders_without_classes(tmp_path):
    for name in ("train", "test"):
        save(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match="no class folders"):
        load(tmp_path)


def test_splits_of_other_names_are_not_taken_for_classes(tmp_path):
    for split in ("first", "second"):
        for name in ("ant", "bee"):
            save(tmp_path / split / name / "1.png")
    with pytest.raises(ValueError, match="same folders in it .ant, bee.*as if they were splits"):
        load(tmp_path)


def test_figures_beside_the_splits_are_not_of_the_data(tmp_path):
    for split in SPLITS:
        for name in ("ant", "bee"):
            save(tmp_path / split / name / "1.png")
    before = folder_digest(tmp_path)
    save(tmp_path / "runs" / "attention.png")
    assert folder_digest(tmp_path) == before
    save(tmp_path / "test" / "bee" / "2.png")
    assert folder_digest(tmp_path) != before


def test_presplit_errors(tmp_path):
    for name in ("ant", "bee", "cow"):
        save(tmp_path / "train" / name / "1.png")
    with pytest.raises(ValueError, match="no folder test/ or testing/"):
        load(tmp_path, "test")
    for name in ("ant", "bee", "dog"):
        save(tmp_path / "test" / name / "1.png")
    with pytest.raises(ValueError, match=r"train: cow; only in .*test: dog"):
        load(tmp_path)
