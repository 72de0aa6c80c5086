"""The orientation of image files: one for training, served models and their overlays."""

from PIL import ExifTags, Image

# Pillow's names. MPO is a JPEG file with several images, as phones write it.
JPEG = ("JPEG", "MPO")
# By EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image):
    """Returns a Pillow image in the orientation of its EXIF data, if it is of a JPEG file.

    Other formats can have an orientation, too, which next to nothing writes or reads. What a
    SavedModel does not read is not read here either.
    """
    if image.format not in JPEG:
        return image
    # Not Pillow's `exif_transpose`, which fails where another entry of the block has a wrong type,
    # and also reads XMP.
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif"))
    except Exception:  # Pillow raises errors of many types for a damaged block.
        return image
    turn = _TURNS.get(exif.get(ExifTags.Base.Orientation))
    return image if turn is None else image.transpose(turn)
