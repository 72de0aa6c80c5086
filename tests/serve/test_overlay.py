"""A map over its image: which colour where, and what is refused."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from aib_serve.overlay import overlay, overlay_file

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)
MAP = np.array([[0.0, 1.0], [0.5, 0.25]])


def color(value):
    return 255 * np.array(colormaps["viridis"](float(value))[:3])


@pytest.mark.parametrize("opacity", [0, 0.3, 1])
def test_a_nearest_map_covers_equal_parts_of_the_image(opacity):
    found = overlay(IMAGE, MAP, opacity, nearest=True)
    assert found.dtype == np.uint8
    values = np.kron(MAP, np.ones((16, 12)))
    colors = np.array([[color(value) for value in row] for row in values])
    expected = (1 - opacity) * IMAGE + opacity * colors
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_a_bilinear_map_rises_between_the_centres_of_its_pixels():
    ramp = overlay(np.zeros((4, 8, 3), np.uint8), [[0.0, 1.0]], opacity=1)
    np.testing.assert_array_equal(ramp[0], ramp[3])
    # Centres of the map's pixels are at columns 1.5 and 5.5: constant outside, linear between.
    expected = np.clip((np.arange(8) - 1.5) / 4, 0, 1)
    np.testing.assert_array_equal(ramp[0], np.rint([color(value) for value in expected]))


@pytest.mark.parametrize("limits", [None, (-1, 3), [-1, 3]])
def test_limits_spread_the_colours_over_the_range_of_the_map(limits):
    found = overlay(IMAGE, 4 * MAP - 1, nearest=True, limits=limits)
    np.testing.assert_array_equal(found, overlay(IMAGE, MAP, nearest=True))


def test_pictures_under_the_same_limits_can_be_compared():
    first = overlay(IMAGE, MAP, 1, nearest=True, limits=(0, 2))
    second = overlay(IMAGE, MAP + 0.5, 1, nearest=True, limits=(0, 2))
    # 0.5 is at the lower left of one and at the upper left of the other.
    np.testing.assert_array_equal(first[31, 0], second[0, 0])


def test_a_map_of_one_value_is_dark_under_its_own_limits():
    found = overlay(IMAGE, np.full((4, 4), 0.7), opacity=1, limits=None)
    np.testing.assert_array_equal(found, np.broadcast_to(np.rint(color(0)), IMAGE.shape))


def test_a_map_with_a_channel_axis_is_the_same_map():
    np.testing.assert_array_equal(overlay(IMAGE, MAP[..., None]), overlay(IMAGE, MAP))


def test_the_arguments_stay_as_they_are():
    image, attention = IMAGE.copy(), MAP.astype(np.float32)
    overlay(image, attention, limits=None)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(attention, MAP)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": IMAGE / 255}, TypeError, "`image` must be uint8 .* got float64"),
        ({"image": IMAGE[None]}, ValueError, r"`image` must have shape .* got \(1, 32, 24, 3\)"),
        ({"image": IMAGE[..., 0]}, ValueError, r"`image` must have shape .* got \(32, 24\)"),
        ({"image": IMAGE[:0]}, ValueError, r"`image` must have shape .* got \(0, 24, 3\)"),
        ({"attention": [["a"]]}, TypeError, "`attention` must be real numbers"),
        ({"attention": [[1j]]}, TypeError, "`attention` must be real numbers"),
        ({"attention": MAP[None, ..., None]}, ValueError, r"got \(1, 2, 2, 1\)"),
        ({"attention": np.zeros((0, 2))}, ValueError, r"got \(0, 2\)"),
        ({"attention": MAP + 0.1}, ValueError, r"within `limits`, \[0, 1\]; it is in \[0.1, 1.1\]"),
        ({"attention": -MAP}, ValueError, r"it is in \[-1, -?0\]"),
        ({"limits": (0.25, 2)}, ValueError, r"within `limits`, \[0.25, 2\]; it is in \[0, 1\]"),
        ({"attention": MAP * np.nan}, ValueError, "must be finite numbers"),
        ({"attention": MAP - np.inf, "limits": None}, ValueError, "must be finite numbers"),
        ({"opacity": 1.5}, ValueError, r"`opacity` must be a number in \[0, 1\], got 1.5"),
        ({"opacity": np.nan}, ValueError, "`opacity` must be"),
        ({"opacity": True}, ValueError, "`opacity` must be"),
        ({"opacity": [0.5]}, ValueError, "`opacity` must be"),
        ({"opacity": "half"}, ValueError, "`opacity` must be"),
        ({"limits": (0.5, 0.5)}, ValueError, r"`limits` must be a pair .* got \(0.5, 0.5\)"),
        ({"limits": (0, 1, 2)}, ValueError, "`limits` must be a pair"),
        ({"limits": (0, np.nan)}, ValueError, "`limits` must be a pair"),
        ({"limits": True}, ValueError, "`limits` must be a pair"),
    ],
)
def test_wrong_arguments_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        overlay(**{"image": IMAGE, "attention": MAP, **changes})


def test_a_client_needs_neither_tensorflow_nor_keras():
    code = (
        "import sys, numpy, aib_serve.overlay as o;"
        "o.overlay(numpy.zeros((8, 8, 3), 'uint8'), numpy.zeros((2, 2)));"
        "print(sorted({'tensorflow', 'keras', 'aib_keras'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def png(image, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", **options)
    return stream.getvalue()


def test_map_of_a_part_of_a_file():
    image = np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype="uint8")
    attention = np.linspace(0.2, 0.8, 16, dtype="float32").reshape(4, 4)
    found = overlay_file(png(image), attention, (0.1, 0.0, 0.9, 0.5))
    part = overlay(image[10:90, :30], attention, limits=None)
    np.testing.assert_array_equal(found[10:90, :30], part)
    found[10:90, :30] = image[10:90, :30]
    np.testing.assert_array_equal(found, image)


def test_the_picture_in_a_file_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    attention = np.full((2, 2), 0.5, "float32")
    stream = io.BytesIO()
    Image.new("RGB", (60, 40)).save(stream, "JPEG", exif=exif)
    assert overlay_file(stream.getvalue(), attention).shape == (60, 40, 3)
    # The unit of the resolution as text: an entry of a wrong type, which is none of ours.
    directory = struct.pack("<HHHIHHHHI4sI", 2, 0x0112, 3, 1, 6, 0, 0x0128, 2, 2, b"2", 0)
    stream = io.BytesIO()
    strange = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory
    Image.new("RGB", (60, 40)).save(stream, "JPEG", exif=strange)
    assert overlay_file(stream.getvalue(), attention).shape == (60, 40, 3)
    # As the SavedModel, which reads the orientation of JPEG files alone.
    file = png(np.zeros((40, 60, 3), "uint8"), exif=exif)
    assert overlay_file(file, attention).shape == (40, 60, 3)


def test_of_16_bits_the_upper_8_are_shown():
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    found = overlay_file(png(values), np.zeros((2, 2), "float32"))
    dark = overlay_file(png((values >> 8).astype(np.uint8)), np.zeros((2, 2), "float32"))
    np.testing.assert_array_equal(found, dark)


def test_a_file_of_one_pixel():
    file = png(np.zeros((1, 1, 3), "uint8"))
    found = overlay_file(file, np.full((2, 2), 0.5, "float32"), (0.9, 0.9, 1, 1))
    assert found.shape == (1, 1, 3)
