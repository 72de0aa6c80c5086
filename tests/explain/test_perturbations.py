import numpy as np
import pytest
from backends import HIGHEST_SEED
from PIL import Image

from aib_keras.explain import ColorWindow, HighPass, ImageWindow, LowPass

RNG = np.random.default_rng(0)
# Too small for a window of noise to have the colour that was there before.
BLACK = np.zeros((40, 20, 24, 3), np.uint8)
PATCHES = RNG.integers(1, 256, (5, 32, 32, 3), dtype=np.uint8)
ALL = (ColorWindow(5), ImageWindow(5, PATCHES), HighPass(), LowPass())


def by_name(perturbation):
    return perturbation.name


def changed(images, perturbed):
    return (images != perturbed).any(axis=-1)


def boxes(mask):
    """Tight boxes (N, 4) y0, x0, y1, x1 of what is true in (N, H, W)."""
    found = []
    for each in mask:
        rows, columns = np.flatnonzero(each.any(axis=1)), np.flatnonzero(each.any(axis=0))
        found.append((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    return np.array(found)


def wave(frequency_y, frequency_x, amplitude, mean=128, size=(32, 32), phase=0.0):
    """An image of one cosine, cycles per image down and across, in every channel."""
    y, x = np.mgrid[: size[0], : size[1]]
    angle = 2 * np.pi * (frequency_y * y / size[0] + frequency_x * x / size[1]) + phase
    values = np.rint(mean + amplitude * np.cos(angle)).astype(np.uint8)
    return np.repeat(values[None, :, :, None], 3, axis=-1)


@pytest.mark.parametrize("perturbation", ALL, ids=by_name)
def test_the_same_from_a_seed_however_a_data_set_is_cut_into_batches(perturbation):
    images = RNG.integers(0, 256, (150, 20, 24, 3), dtype=np.uint8)
    before = images.copy()
    whole = perturbation(images)
    assert (whole.shape, whole.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before)
    parts = [perturbation(images[at : at + 7], first=at) for at in range(0, 150, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(perturbation(images), whole)


def test_a_colour_window_is_one_colour_on_p_by_p_pixels_inside():
    perturbed = ColorWindow(5)(BLACK)
    mask = changed(BLACK, perturbed)
    y0, x0, y1, x1 = boxes(mask).T
    assert (mask.sum(axis=(1, 2)) == 25).all()
    assert (y1 - y0 == 5).all()
    assert (x1 - x0 == 5).all()
    colors = [
        np.unique(image[inside], axis=0) for image, inside in zip(perturbed, mask, strict=True)
    ]
    assert {len(each) for each in colors} == {1}
    assert len(np.unique(np.concatenate(colors), axis=0)) == len(BLACK)


def test_windows_are_everywhere_and_colours_of_every_kind():
    black = np.zeros((4000, 6, 5, 3), np.uint8)
    perturbed = ColorWindow(4)(black)
    y0, x0 = boxes(changed(black, perturbed)).T[:2]
    places = np.unique(3 * x0 + y0, return_counts=True)[1]
    # 3 * 2 equally likely places: 667 each, give or take 4 standard deviations.
    assert len(places) == 6
    assert np.abs(places - 4000 / 6).max() < 4 * np.sqrt(4000 * 5 / 36)
    colors = perturbed.max(axis=(1, 2))
    np.testing.assert_allclose(colors.mean(axis=0), 127.5, atol=5)
    assert (colors.min(), colors.max()) == (0, 255)
    assert np.abs(np.corrcoef(np.column_stack([colors, y0, x0]).T) - np.eye(5)).max() < 0.07


def test_another_seed_is_another_place_and_the_same_seed_one_place_for_all_contents():
    place = boxes(changed(BLACK, ColorWindow(5)(BLACK)))
    np.testing.assert_array_equal(boxes(changed(BLACK, ImageWindow(5, PATCHES)(BLACK))), place)
    assert (boxes(changed(BLACK, ColorWindow(5, seed=1)(BLACK))) != place).any(axis=1).mean() > 0.9


def test_an_image_window_holds_a_patch_resized_as_pillow_does():
    perturbed = ImageWindow(8, PATCHES)(BLACK)
    wanted = [np.asarray(Image.fromarray(p).resize((8, 8), Image.BILINEAR)) for p in PATCHES]
    used = []
    for image, (y0, x0, y1, x1) in zip(perturbed, boxes(changed(BLACK, perturbed)), strict=True):
        matches = [np.array_equal(image[y0:y1, x0:x1], patch) for patch in wanted]
        assert sum(matches) == 1
        used.append(matches.index(True))
    assert set(used) == set(range(5))


def test_patches_of_the_windows_size_are_taken_as_they_are():
    perturbed = ImageWindow(32, PATCHES)(np.zeros((1, 32, 32, 3), np.uint8))
    assert any(np.array_equal(perturbed[0], patch) for patch in PATCHES)


def test_a_window_may_fill_the_image():
    images = np.zeros((3, 6, 6, 3), np.uint8)
    assert changed(images, ColorWindow(6)(images)).all()


def test_a_constant_image_passes_low_and_not_high():
    images = np.full((2, 31, 32, 3), 77, np.uint8)
    np.testing.assert_array_equal(LowPass(0.5)(images), images)
    assert not HighPass(0.5)(images).any()


@pytest.mark.parametrize(
    ("frequency", "distance"),
    [((0, 4), 4), ((4, 0), 4), ((3, 4), 5), ((-3, 4), 5), ((12, 0), 12), ((0, 16), 16)],
)
def test_a_wave_passes_by_the_distance_of_its_frequency(frequency, distance):
    """Both limits are strict, and each is at the distance itself."""
    image = wave(*frequency, amplitude=100)
    flat = np.full_like(image, 128)
    # The mean goes with the low frequencies; what is left of the wave below 0 is clipped.
    crests = np.clip(image.astype(int) - 128, 0, 255)
    for radius, kept in ((distance - 0.01, True), (distance, False), (distance + 0.01, False)):
        expected = crests if kept else np.zeros_like(crests)
        np.testing.assert_allclose(HighPass(radius)(image).astype(int), expected, atol=1)
    for radius, kept in ((distance - 0.01, False), (distance, False), (distance + 0.01, True)):
        expected = image if kept else flat
        np.testing.assert_allclose(LowPass(radius)(image).astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize("size", [(32, 32), (31, 33), (20, 33), (31, 24)])
def test_filters_agree_with_the_shifted_spectrum_written_out(size):
    images = RNG.integers(0, 256, (3, *size, 3), dtype=np.uint8)
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.sqrt((y - size[0] // 2) ** 2 + (x - size[1] // 2) ** 2)
    for perturbation, keep in ((HighPass(4), distance > 4), (LowPass(12), distance < 12)):
        perturbed = perturbation(images)
        for image, found in zip(images, perturbed, strict=True):
            for channel in range(3):
                spectrum = np.fft.fftshift(np.fft.fft2(image[..., channel])) * keep
                values = np.fft.ifft2(np.fft.ifftshift(spectrum))
                assert np.abs(values.imag).max() < 1e-9
                # Rounded to the nearest; single precision may choose either side of a half.
                rounding = np.abs(found[..., channel] - np.clip(values.real, 0, 255))
                assert rounding.max() < 0.5 + 1e-3


def test_ringing_beyond_the_range_is_clipped():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[:, :, 16:] = 255
    perturbed = LowPass()(images)
    assert perturbed[0, 0, :16].min() == 0
    assert perturbed[0, 0, 16:].max() == 255
    np.testing.assert_allclose(perturbed[0, 0, [4, 28], 0], [0, 255], atol=25)


@pytest.mark.parametrize("perturbation", ALL, ids=by_name)
def test_other_images_than_uint8_batches_are_refused(perturbation):
    with pytest.raises(ValueError, match="`images` must be uint8 in .0, 255., got float32"):
        perturbation(BLACK.astype(np.float32))
    with pytest.raises(ValueError, match=r"images\[None\]"):
        perturbation(BLACK[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColorWindow(0), "`size` must be an integer of at least 1"),
        (lambda: ColorWindow(4, seed=-1), rf"`seed` must be an integer in \[0, {HIGHEST_SEED}\]"),
        (lambda: ImageWindow(4, PATCHES, seed=2**32), "`seed` must be an integer in"),
        (lambda: ColorWindow(21)(BLACK), "21x21 pixels does not fit into images of 20x24"),
        (lambda: ColorWindow(4)(BLACK, first=-1), "`first` must be an integer of at least 0"),
        (lambda: ImageWindow(4, PATCHES[:0]), "no patches"),
        (lambda: ImageWindow(4, PATCHES[0]), r"`patches` must have shape \(N, H, W, 3\)"),
        (lambda: HighPass(0), "`radius` must be a finite positive number"),
        (lambda: LowPass(float("nan")), "`radius` must be a finite positive number"),
        (lambda: LowPass()(BLACK[..., :1]), r"got \(40, 20, 24, 1\).*np.repeat"),
        (lambda: HighPass()(BLACK[:, :0]), r"got \(40, 0, 24, 3\)"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
