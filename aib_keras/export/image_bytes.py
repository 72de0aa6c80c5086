"""Decoding of image files inside a SavedModel, as `aib_keras.data` decodes them for training.

A server has nothing but the graph, so this module uses only operations of TensorFlow's runtime. No
file costs more than a good image of `MAX_PIXELS`. A file that cannot be decoded does not fail its
request, which may have the images of other users: a text in its row says what is wrong.
"""

# 8192 x 8192 pixels: more than the photographs of most cameras, and 192 MiB when decoded.
MAX_PIXELS = 2**26
# Larger images are decoded one at a time. Each of them may need 1 GiB, if it has transparency.
_LARGE_PIXELS = 2**24
# A progressive JPEG is decoded once for each of its scans. Cameras and tools write about ten.
MAX_JPEG_SCANS = 100
# Limits the memory that a request with many images needs.
_DECODED_AT_ONCE = 4

# What a row can say. The index of a text is the status of an image in the graph.
PROBLEMS = (
    "",
    "damaged or truncated",
    "not a JPEG, PNG or WebP image",
    f"larger than {MAX_PIXELS:,} pixels: make it smaller",
    f"a progressive JPEG of more than {MAX_JPEG_SCANS} scans: save it again",
    "an animation: send one of its images",
)
_GOOD, _DAMAGED, _UNKNOWN, _TOO_LARGE, _TOO_MANY_SCANS, _ANIMATED = range(len(PROBLEMS))
# Of a good image that is still to be decoded.
_LARGE = len(PROBLEMS)

# File types and sizes are in the first bytes, EXIF data is in one of the first 64 KiB segments.
_HEADER_BYTES = 32
# Marker and length of a segment of a JPEG, and what an EXIF block begins with.
_SEGMENT_BYTES = 10
_MOST_SEGMENTS = 2**12
_ORIENTATION_TAG = 0x0112
# Types of its value in TIFF, of two and of four bytes.
_SHORT, _LONG = 3, 4


def decode_batch(contents, transform):
    """Decodes JPEG, PNG and WebP files and applies a transform, as `transform.read` does.

    The EXIF orientation of JPEGs is applied and transparency is composited over white. Resizing is
    bilinear and antialiased, rounded to uint8.

    Args:
        contents: String tensor `(B,)`, the bytes of the files.
        transform: `aib_keras.data.EvaluationTransform`.

    Returns:
        images: uint8 tensor `(B, height, width, 3)`, black where there is a problem.
        problems: String tensor `(B,)`, one of `PROBLEMS` each; empty for a decoded image.
    """
    import tensorflow as tf

    count, size = tf.size(contents), transform.size
    files = tf.data.Dataset.from_tensor_slices((tf.range(count), contents))
    decoded = files.map(
        lambda index, content: (index, content, *_decode(content, transform)),
        num_parallel_calls=_DECODED_AT_ONCE,
    )
    decoded = decoded.map(
        lambda index, content, image, status: (
            index,
            *_decode_large(content, image, status, transform),
        )
    )
    # From here on files that a decoder refuses are missing; the rest of the function marks them as
    # damaged.
    decoded = decoded.ignore_errors()
    # One more image at the end, because a batch must not be empty.
    none = (count, tf.zeros((*size, 3), tf.uint8), tf.constant(_GOOD))
    decoded = decoded.concatenate(tf.data.Dataset.from_tensors(none))
    indices, images, statuses = decoded.batch(tf.cast(count, tf.int64) + 1).get_single_element()
    indices = indices[:, None]
    images = tf.scatter_nd(indices, images, (count + 1, *size, 3))
    statuses = tf.tensor_scatter_nd_update(tf.fill((count + 1,), _DAMAGED), indices, statuses)
    return images[:count], tf.gather(tf.constant(PROBLEMS), statuses[:count])


def _decode(content, transform):
    """Returns image and status of one file. TensorFlow raises an error for a damaged one.

    A large image is black, and its status is `_LARGE`.
    """
    import tensorflow as tf

    header, is_jpeg, is_png, is_webp = _kind(content)
    # The header alone says the size, so that nothing is decoded before its size is known.
    height, width = tf.case(
        [
            (is_jpeg, lambda: _jpeg_size(content)),
            (is_png, lambda: (_number(header[20:24], ">"), _number(header[16:20], ">"))),
            (is_webp, lambda: _webp_size(header)),
        ],
        default=lambda: (tf.constant(0, tf.int64), tf.constant(0, tf.int64)),
    )
    # In floats, because the product of two 32-bit numbers may not fit into a signed 64-bit integer.
    pixels = tf.cast(height, tf.float64) * tf.cast(width, tf.float64)
    is_animated = is_webp & _has(header, 12, b"VP8X") & (header[20] // 2 % 2 == 1)
    many_scans = tf.cond(is_jpeg, lambda: _has_many_scans(content, height, width), lambda: False)
    status = tf.where(pixels > _LARGE_PIXELS, _LARGE, _GOOD)
    for problem, found in (
        (_TOO_MANY_SCANS, many_scans),
        (_ANIMATED, is_animated),
        (_TOO_LARGE, pixels > MAX_PIXELS),
        (_UNKNOWN, ~(is_jpeg | is_png | is_webp)),
    ):
        status = tf.where(found, problem, status)
    image = tf.cond(
        status == _GOOD,
        lambda: _decoded(content, transform),
        lambda: tf.zeros((*transform.size, 3), tf.uint8),
    )
    return tf.ensure_shape(image, (*transform.size, 3)), status


def _decode_large(content, image, status, transform):
    """Returns image and status of one file for which `_decode` has returned these."""
    import tensorflow as tf

    is_large = status == _LARGE
    image = tf.cond(is_large, lambda: _decoded(content, transform), lambda: image)
    return tf.ensure_shape(image, (*transform.size, 3)), tf.where(is_large, _GOOD, status)


def _kind(content):
    """Returns the first bytes of a file, and whether it is a JPEG, a PNG or a WebP image."""
    import tensorflow as tf

    header = tf.io.decode_raw(content, tf.uint8, fixed_length=_HEADER_BYTES)
    is_jpeg = _has(header, 0, b"\xff\xd8\xff")
    is_png = _has(header, 0, b"\x89PNG\r\n\x1a\n")
    is_webp = _has(header, 0, b"RIFF") & _has(header, 8, b"WEBP")
    return header, is_jpeg, is_png, is_webp


def _decoded(content, transform):
    import tensorflow as tf

    header, is_jpeg, is_png, _ = _kind(content)
    return tf.case(
        [
            (is_jpeg, lambda: _transformed(_jpeg(content), transform)),
            (is_png, lambda: _transformed(_png(content, header[24]), transform)),
        ],
        default=lambda: _transformed(_webp(content), transform),
    )


def _jpeg(content):
    import tensorflow as tf

    # Pillow's method. The result of TensorFlow's default differs from it by up to 5 of 255.
    image = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    upright = [
        lambda: image,
        lambda: tf.image.flip_left_right(image),
        lambda: tf.image.rot90(image, 2),
        lambda: tf.image.flip_up_down(image),
        lambda: tf.transpose(image, (1, 0, 2)),
        lambda: tf.image.rot90(image, 3),
        lambda: tf.image.rot90(tf.transpose(image, (1, 0, 2)), 2),
        lambda: tf.image.rot90(image, 1),
    ]
    return tf.switch_case(_orientation(content) - 1, upright)


def _png(content, bit_depth):
    import tensorflow as tf

    image = tf.io.decode_png(content, channels=4)
    # In opaque images of fewer than 8 bits TensorFlow sets alpha to 2 ** bits - 1, not to 255.
    opaque = tf.where(bit_depth < 8, tf.bitwise.left_shift(tf.constant(1, tf.uint8), bit_depth), 0)
    return _on_white(image, opaque - 1)


def _webp(content):
    import tensorflow as tf

    # The decoder fails if it is asked for another number of channels than the file has.
    image = tf.io.decode_image(content, channels=0, expand_animations=False)
    return tf.cond(tf.shape(image)[-1] == 4, lambda: _on_white(image, 255), lambda: image)


def _on_white(image, opaque):
    """Composites an RGBA image over white. `opaque` is the alpha of an opaque pixel."""
    import tensorflow as tf

    color, alpha = image[..., :3], image[..., 3:]

    def composite():
        # 16 bits hold 255 * 255, and take half of the memory of 32 bits.
        color16, alpha16 = tf.cast(color, tf.uint16), tf.cast(alpha, tf.uint16)
        return tf.cast((color16 * alpha16 + 255 * (255 - alpha16) + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_all(alpha == opaque), lambda: color, composite)


def _transformed(image, transform):
    import tensorflow as tf

    resized = tf.round(tf.image.resize(image, transform.resized_size, antialias=True))
    return transform.crop(tf.cast(resized, tf.uint8))


def _jpeg_size(content):
    import tensorflow as tf

    shape = tf.image.extract_jpeg_shape(content, tf.int64)
    return shape[0], shape[1]


def _webp_size(header):
    """Reads height and width from the header of a lossy, a lossless, or an extended WebP."""
    import tensorflow as tf

    lossless = _number(header[21:25], "<")
    return tf.case(
        [
            (
                _has(header, 12, b"VP8L"),
                lambda: (lossless // 2**14 % 2**14 + 1, lossless % 2**14 + 1),
            ),
            (
                _has(header, 12, b"VP8X"),
                lambda: (_number(header[27:30], "<") + 1, _number(header[24:27], "<") + 1),
            ),
        ],
        default=lambda: (_number(header[28:30], "<") % 2**14, _number(header[26:28], "<") % 2**14),
    )


def _has_many_scans(content, height, width):
    """Whether a JPEG is progressive and has more than `MAX_JPEG_SCANS` scans."""
    import tensorflow as tf

    values = tf.io.decode_raw(content, tf.uint8)
    scans = tf.math.count_nonzero((values[:-1] == 0xFF) & (values[1:] == 0xDA))

    def is_progressive():
        # A frame header has a marker, a length, the 8 bits of a pixel, height and width. Bytes that
        # look like the start of a scan can also be in a film that a phone appends to a photograph.
        expected = [None, None, 0, None, 8, height // 256, height % 256, width // 256, width % 256]
        places = tf.size(values) - len(expected)
        found = (values[:places] == 0xFF) & (
            (values[1 : places + 1] == 0xC2) | (values[1 : places + 1] == 0xCA)
        )
        for offset, value in enumerate(expected):
            if value is not None:
                found &= values[offset : places + offset] == tf.cast(value, tf.uint8)
        return tf.reduce_any(found)

    return tf.cond(scans > MAX_JPEG_SCANS, is_progressive, lambda: False)


def _orientation(content):
    """Returns the EXIF orientation of a JPEG, int32 from 1 to 8; 1 if it is missing or invalid."""
    import tensorflow as tf

    block = _exif(content)
    is_exif = _has(block, 0, b"II*\0") | _has(block, 0, b"MM\0*")
    return tf.cond(is_exif, lambda: _orientation_in(block), lambda: tf.constant(1))


def _exif(content):
    """Returns the first EXIF block of a JPEG, uint8; zeros if there is none.

    It goes from segment to segment, as Pillow does: a comment or a profile before the block can be
    long, and can contain what the block begins with.
    """
    import tensorflow as tf

    size = tf.strings.length(content)

    def begin(place):
        inside = tf.strings.substr(content, tf.minimum(place, size - 1), _SEGMENT_BYTES)
        return tf.io.decode_raw(inside, tf.uint8, fixed_length=_SEGMENT_BYTES)

    def is_exif(values):
        return _has(values, 0, b"\xff\xe1") & _has(values, 4, b"Exif\0\0")

    def goes_on(place):
        values = begin(place)
        # The image begins behind the start of a scan.
        is_scan = _has(values, 0, b"\xff\xda")
        return (place + _SEGMENT_BYTES <= size) & ~is_scan & ~is_exif(values)

    def next_place(place):
        values = begin(place)
        marker = values[1]
        length = tf.cast(_number(values[2:4], ">"), tf.int32)
        is_alone = (marker == 0) | ((marker >= 0xD0) & (marker <= 0xD9))
        step = tf.where(is_alone, 2, 2 + length)
        # Bytes that fill up.
        step = tf.where((values[0] != 0xFF) | (marker == 0xFF), 1, step)
        return (place + step,)

    (place,) = tf.while_loop(
        goes_on, next_place, (tf.constant(2),), maximum_iterations=_MOST_SEGMENTS
    )
    values = begin(place)
    found = (place + _SEGMENT_BYTES <= size) & is_exif(values)
    length = tf.cast(_number(values[2:4], ">"), tf.int32) + 2 - _SEGMENT_BYTES
    return tf.cond(
        found & (length > _HEADER_BYTES // 2),
        lambda: tf.io.decode_raw(
            tf.strings.substr(content, place + _SEGMENT_BYTES, length), tf.uint8
        ),
        lambda: tf.zeros(_HEADER_BYTES, tf.uint8),
    )


def _orientation_in(block):
    """Returns the orientation from the first directory of a TIFF block, the format of EXIF data."""
    import tensorflow as tf

    is_little_endian = block[0] == ord("I")
    end = tf.size(block, tf.int64)
    # In a damaged block the numbers may point anywhere, so there must be room behind the end.
    block = tf.concat([block, tf.zeros(_HEADER_BYTES, tf.uint8)], 0)

    def number(begin, length):
        values = tf.slice(block, [tf.minimum(begin, end)], [length])
        return tf.where(is_little_endian, _number(values, "<"), _number(values, ">"))

    directory = number(tf.constant(4, tf.int64), 4)
    first = tf.minimum(directory + 2, end)
    count = tf.minimum(number(directory, 2), (end - first) // 12)
    entries = tf.cast(tf.reshape(block[first : first + 12 * count], (-1, 12)), tf.int64)

    def column(place, length):
        powers = tf.constant([256**power for power in range(length)], tf.int64)
        values = entries[:, place : place + length]
        return tf.reduce_sum(
            tf.where(is_little_endian, values * powers, values * powers[::-1]), axis=-1
        )

    # Pillow takes one number of these types for an orientation, and nothing else.
    kind, single = column(2, 2), column(4, 4) == 1
    value = tf.where(kind == _SHORT, column(8, 2), tf.where(kind == _LONG, column(8, 4), 0))
    found = tf.where((column(0, 2) == _ORIENTATION_TAG) & single, value, 0)
    orientation = tf.cast(tf.reduce_max(tf.concat([[0], found], 0)), tf.int32)
    return tf.where((orientation >= 1) & (orientation <= 8), orientation, 1)


def _number(values, order):
    """Reads an unsigned integer, int64, from bytes in the order "<" (little-endian) or ">"."""
    import tensorflow as tf

    powers = [256**power for power in range(values.shape[0])]
    powers = powers if order == "<" else powers[::-1]
    return tf.reduce_sum(tf.cast(values, tf.int64) * tf.constant(powers, tf.int64))


def _has(values, place, text):
    import tensorflow as tf

    return tf.reduce_all(values[place : place + len(text)] == tf.constant(list(text), tf.uint8))
