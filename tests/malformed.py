"""Files that are no good images, for the tests of whatever takes files from strangers."""

import functools
import io
import struct
import zlib

import numpy as np
from PIL import Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Valid and lossless: 16,383 x 12,000 black pixels.
_WEBP_BOMB = bytes.fromhex("524946461a000000574542505650384c0e0000002ffeffb70b071011fd0f4444ff03")


def malformed_files(count, seed):
    """`count` files `(name, content)`, of all kinds below in turn, the same for the same seed."""
    rng = np.random.default_rng(seed)
    kinds = list(_KINDS.items())
    files = []
    for index in range(count):
        kind, make = kinds[index % len(kinds)]
        ending = ("png", "jpg", "webp", "jpeg")[int(rng.integers(4))]
        files.append((f"{index}-{kind}.{ending}", make(rng)))
    return files


def image_file(rng, kind, size=(40, 48), **options):
    """A good image of noise as a file: `kind` is a format of Pillow."""
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(stream, kind, **options)
    return stream.getvalue()


def png_file(width, height, data, bits=8, color=2):
    """A PNG of a header that says anything, and of any compressed data."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return _PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name, content):
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


@functools.cache
def _zeros(length):
    compressor = zlib.compressobj(1)
    block = bytes(2**20)
    parts = [compressor.compress(block) for _ in range(length // len(block))]
    parts.append(compressor.compress(bytes(length % len(block))))
    return b"".join([*parts, compressor.flush()])


def _truncated(kind, **options):
    def make(rng):
        content = image_file(rng, kind, **options)
        return content[: int(len(content) * rng.uniform(0.05, 0.8))]

    return make


def _png_of_size(width, height):
    return lambda rng: png_file(width, height, _zeros(int(rng.integers(1, 1000))))


def _png_bomb(rng):
    """A valid file of 1 bit a pixel, a few hundred kilobytes for hundreds of megapixels."""
    side = (16_000, 24_000, 30_000)[int(rng.integers(3))]
    return png_file(side, side, _zeros(side * (side // 8 + 1)), bits=1, color=0)


def _damaged_png(rng):
    content = bytearray(image_file(rng, "PNG"))
    # In the middle of the pixels, whose checksum it breaks.
    content[len(content) // 2] ^= 1 << int(rng.integers(8))
    return bytes(content)


def _jpeg_of_size(width, height):
    """A JPEG with another size in its frame header than its data is for."""

    def make(rng):
        content = bytearray(image_file(rng, "JPEG"))
        frame = content.index(b"\xff\xc0")
        content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
        return bytes(content)

    return make


def _webp_of_size(width, height):
    """A lossless WebP with another size in its header than its data is for."""

    def make(rng):
        content = bytearray(image_file(rng, "WEBP", lossless=True))
        start = content.index(b"VP8L") + 9
        bits = int.from_bytes(content[start : start + 4], "little") >> 28 << 28
        bits |= (width - 1) | (height - 1) << 14
        content[start : start + 4] = bits.to_bytes(4, "little")
        return bytes(content)

    return make


_KINDS = {
    "empty": lambda rng: b"",
    "one-byte": lambda rng: rng.bytes(1),
    "noise": lambda rng: rng.bytes(int(rng.integers(2, 5000))),
    "zeros": lambda rng: bytes(int(rng.integers(2, 5000))),
    "text": lambda rng: b"label,score\n" * int(rng.integers(1, 200)),
    "html": lambda rng: b"<!doctype html><title>404</title>" + rng.bytes(20),
    "svg": lambda rng: b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>",
    "pdf": lambda rng: b"%PDF-1.7\n" + rng.bytes(200),
    "zip": lambda rng: b"PK\x03\x04" + rng.bytes(200),
    "only-png-signature": lambda rng: _PNG_SIGNATURE,
    "only-jpeg-signature": lambda rng: b"\xff\xd8\xff\xe0",
    "only-webp-signature": lambda rng: b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    "only-gif-signature": lambda rng: b"GIF89a" + rng.bytes(4),
    "jpeg-behind-png-signature": lambda rng: _PNG_SIGNATURE + image_file(rng, "JPEG"),
    "truncated-jpeg": _truncated("JPEG"),
    "truncated-progressive-jpeg": _truncated("JPEG", progressive=True),
    "truncated-png": _truncated("PNG"),
    "truncated-webp": _truncated("WEBP"),
    "damaged-png": _damaged_png,
    "png-of-no-width": _png_of_size(0, 10),
    "png-of-no-height": _png_of_size(10, 0),
    "png-without-pixels": lambda rng: png_file(30, 30, b""),
    "png-of-huge-size": _png_of_size(2**31 - 1, 2**31 - 1),
    "png-of-huge-width": _png_of_size(2**31 - 1, 1),
    "png-of-negative-size": _png_of_size(2**32 - 1, 2**32 - 1),
    "png-bomb": _png_bomb,
    "jpeg-of-no-width": _jpeg_of_size(0, 40),
    "jpeg-of-huge-size": _jpeg_of_size(65_535, 65_535),
    "webp-of-huge-size": _webp_of_size(16_383, 16_383),
    "webp-bomb": lambda rng: _WEBP_BOMB,
}
