"""Files decoded in a graph against the same files decoded for training."""

import io
import struct

import keras
import numpy as np
import pytest
from malformed import malformed_files
from PIL import Image

from aib_keras.data import EvaluationTransform, pixels

if keras.backend.backend() != "tensorflow":
    pytest.skip("export needs the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

from aib_keras.export import image_bytes

SIZE = (32, 40)


@pytest.fixture(scope="module")
def decode():
    """`decode(contents)`: images and problems, as a served graph gives them."""
    function = tf.function(
        lambda contents: image_bytes.decode_batch(contents, EvaluationTransform(SIZE)),
        input_signature=[tf.TensorSpec((None,), tf.string)],
    )

    def _decode(contents):
        images, problems = function(tf.constant(contents, tf.string))
        return images.numpy(), [problem.decode() for problem in problems.numpy()]

    return _decode


def picture():
    y, x = np.mgrid[0:150, 0:200]
    channels = (127 + 100 * np.sin(x / 20 + y / 33), 127 + 100 * np.cos(x / 15), (x + y) % 256)
    return Image.fromarray(np.stack(channels, axis=-1).astype("uint8"))


def transparent():
    image = picture()
    image.putalpha(Image.fromarray(np.tile(np.arange(200, dtype="uint8"), (150, 1))))
    return image


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_orientation(value, byte_order):
    exif = Image.Exif()
    exif.endian = byte_order
    # Entries before and behind it in the directory.
    exif[0x010F], exif[0x0112], exif[0x0131] = "maker", value, "software"
    return saved(picture(), "JPEG", exif=exif.tobytes())


def with_entry(kind, value, order, before=b""):
    """Returns a JPEG whose orientation is an entry of a type, behind other segments."""
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 1)
    block += struct.pack(f"{order}HHI", 0x0112, kind, 1) + value.ljust(4, b"\0") + bytes(4)
    content = saved(picture(), "JPEG")
    return content[:2] + before + segment(0xE1, b"Exif\0\0" + block) + content[2:]


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


PROFILE = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes(65_000)) for _ in range(4))

FILES = {
    "jpeg": saved(picture(), "JPEG"),
    "progressive jpeg": saved(picture(), "JPEG", progressive=True),
    "grey jpeg": saved(picture().convert("L"), "JPEG"),
    "cmyk jpeg": saved(picture().convert("CMYK"), "JPEG"),
    "png": saved(picture(), "PNG"),
    "grey png": saved(picture().convert("L"), "PNG"),
    "grey png with alpha": saved(transparent().convert("LA"), "PNG"),
    "png of 1 bit": saved(picture().convert("1"), "PNG"),
    "png of 4 bits with palette": saved(picture().quantize(16), "PNG"),
    "png with palette, transparent": saved(picture().quantize(16), "PNG", transparency=3),
    "grey png, transparent": saved(picture().convert("L"), "PNG", transparency=127),
    "png of 16 bits": saved(Image.fromarray(np.uint16(257) * picture().convert("L")), "PNG"),
    "png with alpha": saved(transparent(), "PNG"),
    "webp": saved(picture(), "WEBP"),
    "lossless webp": saved(picture(), "WEBP", lossless=True),
    "webp with alpha": saved(transparent(), "WEBP"),
    "lossless webp with alpha": saved(transparent(), "WEBP", lossless=True),
    "extended webp": saved(picture(), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    **{
        f"jpeg of orientation {value} {order}": with_orientation(value, order)
        for value in range(10)
        for order in "<>"
    },
    "orientation of 4 bytes, <": with_entry(4, b"\x06\0\0\0", "<"),
    "orientation of 4 bytes, >": with_entry(4, b"\0\0\0\x06", ">"),
    "orientation of 1 byte": with_entry(1, b"\x06", "<"),
    "orientation of unknown type": with_entry(7, b"\x06", ">"),
    "exif behind a comment on exif": with_entry(3, b"\x06\0", "<", segment(0xFE, b"Exif\0\0II*\0")),
    "exif behind a long profile": with_entry(3, b"\0\x08", ">", PROFILE),
    "exif behind fill bytes": with_entry(3, b"\0\x03", ">", b"\xff\xff\xff"),
    "exif in a comment only": saved(picture(), "JPEG", comment=b"Exif\0\0II*\0\x08\0\0\0"),
    "jpeg with broken exif": saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x07"),
}


# Pillow reads such files, and warns.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_as_for_training(decode):
    images, problems = decode(list(FILES.values()))
    for (name, content), image, problem in zip(FILES.items(), images, problems, strict=True):
        assert problem == "", name
        wanted = pixels.decode(io.BytesIO(content), SIZE)
        # Pillow rounds between its two passes over the rows and the columns.
        assert np.abs(image.astype(int) - wanted).max() <= 1, name


def test_the_middle_of_a_larger_image():
    contents = tf.constant([FILES["png"]])
    middle, _ = image_bytes.decode_batch(contents, EvaluationTransform((32, 40), 0.8))
    larger, _ = image_bytes.decode_batch(contents, EvaluationTransform((40, 50)))
    np.testing.assert_array_equal(middle, larger[:, 4:36, 5:45])


def test_no_files(decode):
    images, problems = decode([])
    assert images.shape == (0, *SIZE, 3)
    assert problems == []


def test_each_file_has_its_own_row(decode):
    names = ("png", "webp", "jpeg")
    alone = [decode([FILES[name]])[0][0] for name in names]
    contents = [FILES["png"], b"", FILES["webp"], FILES["webp"][:90], FILES["jpeg"]]
    images, problems = decode(contents)
    assert problems == ["", image_bytes.PROBLEMS[2], "", image_bytes.PROBLEMS[1], ""]
    np.testing.assert_array_equal(images[::2], alone)
    assert not images[1::2].any()


def test_large_images_are_decoded_one_after_the_other(decode, monkeypatch):
    contents = [FILES["png"], b"", FILES["webp"], FILES["png"][:900], FILES["jpeg"], FILES["png"]]
    images, problems = decode(contents)
    monkeypatch.setattr(image_bytes, "_LARGE_PIXELS", 20_000)
    transform = EvaluationTransform(SIZE)
    large_images, large_problems = image_bytes.decode_batch(tf.constant(contents), transform)
    np.testing.assert_array_equal(large_images, images)
    assert [problem.decode() for problem in large_problems.numpy()] == problems
    assert problems[:4] == ["", image_bytes.PROBLEMS[2], "", image_bytes.PROBLEMS[1]]


def test_malformed_files(decode):
    files = malformed_files(60, seed=0)
    images, problems = decode([content for _, content in files])
    assert not images.any()
    found = dict(zip([name for name, _ in files], problems, strict=True))
    assert "" not in problems
    for name, problem in found.items():
        kind = name.partition("-")[2].partition(".")[0]
        if kind in ("png-bomb", "webp-bomb", "png-of-huge-size", "webp-of-huge-size"):
            assert "larger than 67,108,864 pixels" in problem, name
        if kind.startswith(("truncated", "damaged")):
            assert problem == "damaged or truncated", name
        if kind in ("empty", "noise", "text", "svg", "pdf"):
            assert problem == "not a JPEG, PNG or WebP image", name


@pytest.mark.parametrize(("scans", "is_refused"), [(80, False), (200, True)])
def test_progressive_jpeg_of_many_scans(scans, is_refused, decode):
    content = FILES["progressive jpeg"]
    last = content[content.rindex(b"\xff\xda") : -2]
    repeated = content[:-2] + last * scans + content[-2:]
    _, problems = decode([repeated])
    assert problems == [image_bytes.PROBLEMS[4] if is_refused else ""]


def test_photograph_with_a_film_behind_it(decode):
    # Bytes that look like the starts of scans are none where the image has ended.
    content = FILES["jpeg"]
    images, problems = decode([content, content + b"\xff\xda" * 500])
    assert problems == ["", ""]
    np.testing.assert_array_equal(*images)


def test_animation(decode):
    frames = [picture(), picture().rotate(180)]
    content = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert decode([content])[1] == [image_bytes.PROBLEMS[5]]
