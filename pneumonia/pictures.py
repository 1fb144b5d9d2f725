"""Picture files to grey pixels: JPEG, PNG, TIFF, WebP and BMP of every depth they come in, and what
to do about a file that is something else.

Pillow reads what has 8 bits or fewer a channel. It keeps only the upper byte of deeper colour and
cannot open a float64 or a packed 12-bit TIFF, so those go to tifffile and imagecodecs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pneumonia.pixels import (
    FORMATS,
    UNUSED_ALPHA,
    Facts,
    UnreadableImage,
    check_pixels,
    explain_errors,
    frames_of,
    from_deep,
    from_image,
    orientation_of,
    upright,
)

# What tifffile has to say of a file is said in our own words.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# The parts of a PNG that decide what is seen; all else (profiles, text, times) may be of any size
# and in any state.
_NEEDED_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf"}
# Colours that Pillow turns into RGB from 8 bits a channel, which no X-ray needs more of.
_INK_OR_YCBCR = (5, 6)
_LEAST, _MOST_CHANNELS = 1, 16

_SPEAK = "export the X-ray as JPEG or PNG"
_UNPACK = "unpack it and send the pictures in it, or use Batch, which takes a zip"
# The first bytes of what people send instead of a picture; (offset, bytes, what it is, what to do).
_OTHERS = (
    (0, b"%PDF", "a PDF", "save the X-ray in it as JPEG or PNG"),
    (0, b"PK\3\4", "a zip archive", _UNPACK),
    (0, b"PK\5\6", "an empty zip archive", "put the pictures into it first"),
    (0, b"Rar!\x1a\7", "a RAR archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"\x1f\x8b", "packed with gzip", _UNPACK),
    (0, b"BZh", "packed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ\0", "packed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "packed with Zstandard", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office file", "save the X-ray in it as PNG"),
    (0, b"{\\rtf", "a text document", "save the X-ray in it as PNG"),
    (0, b"GIF8", "a GIF", _SPEAK),
    (0, b"8BPS", "a Photoshop file", _SPEAK),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 file", _SPEAK),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 stream", _SPEAK),
    (0, b"\xff\x0a", "a JPEG XL file", _SPEAK),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL file", _SPEAK),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR file", _SPEAK),
    (0, b"\0\0\1\0", "an icon", _SPEAK),
    (0, b"\x93NUMPY", "a NumPy array", "read it with numpy.load() and hand over the array"),
    (0, b"\x89HDF", "an HDF5 file", _SPEAK),
    (344, b"n+1\0", "a NIfTI volume", "export one X-ray as PNG"),
    (344, b"ni1\0", "a NIfTI header", "export one X-ray as PNG"),
    (0, b"NRRD", "an NRRD volume", "export one X-ray as PNG"),
    (0, b"\x1aE\xdf\xa3", "a video", "send one still picture"),
    (0, b"\0\0\1\xba", "a video", "send one still picture"),
    (0, b"\0\0\1\xb3", "a video", "send one still picture"),
    (0, b"FLV\1", "a video", "send one still picture"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video", "send one still picture"),
    (8, b"AVI ", "a video", "send one still picture"),
    (0, b"OggS", "a recording", "send one still picture"),
    (0, b"ID3", "a recording", "send one still picture"),
    (8, b"WAVE", "a recording", "send one still picture"),
)
_OFFICE = (b"word/", b"ppt/", b"xl/", b"[Content_Types].xml", b"mimetypeapplication/vnd.oasis")


def decode(content: bytes, name: str) -> tuple[np.ndarray, Facts]:
    """The first picture of a file of one of FORMATS, uint8 ``(H, W)``, and what it says of itself.

    Raises:
        UnreadableImage: it is something else, damaged, or has too many pixels.
    """
    with explain_errors(name):
        _refuse_others(content, name)
        if content.startswith(_TIFF):
            return _from_tiff(content, name)
        if content.startswith(_PNG):
            return _from_png(content, name)
        if content.startswith(b"\xff\xd8") and (deep := _deep_jpeg(content, name)) is not None:
            return deep
        with _open_image(content, name) as image:
            image.load()
            return from_image(image, name)


def header_size(content: bytes, name: str) -> tuple[int, int]:
    """Height and width in pixels as they are seen, without decoding a pixel; raises as
    :func:`decode` does.
    """
    with explain_errors(name):
        _refuse_others(content, name)
        if content.startswith(_PNG):
            content = _only_picture(content)
        try:
            with _open_image(content, name) as image:
                width, height = image.size
                # For TIFF, Pillow has turned the size already.
                turned = image.format != "TIFF" and orientation_of(image) > 4
        except UnidentifiedImageError:
            if not content.startswith(_TIFF):
                raise
            with _tiff_page(content, name) as page:
                height, width = int(page.imagelength), int(page.imagewidth)
                turned = _tag(page, 274, 1) > 4
        return (width, height) if turned else (height, width)


@contextlib.contextmanager
def _open_image(content: bytes, name: str) -> Iterator[Image.Image]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        check_pixels(image.size, name)
        yield image


def _refuse_others(content: bytes, name: str) -> None:
    if not content:
        raise UnreadableImage(f"{name} is empty (0 bytes); export the X-ray again.")
    kind = _kind_of(content)
    if kind:
        raise UnreadableImage(f"{name} is {kind[0]}, no picture that can be read here; {kind[1]}.")


def _kind_of(content: bytes) -> tuple[str, str] | None:
    """What a file is that is no picture of ours, and what to do about it; None where its first
    bytes do not tell.
    """
    head = content[:4096]
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand[:3] in (b"hei", b"hev", b"mif", b"msf", b"avi"):
            return (
                "an AVIF" if brand[:3] == b"avi" else "a HEIC photo, as iPhones take them",
                "export it as JPEG or PNG",
            )
        if brand.startswith(b"jx"):
            return "a JPEG XL file", _SPEAK
        return "a video", "send one still picture"
    if head.startswith(b"PK\3\4") and any(mark in head for mark in _OFFICE):
        return "an Office file", "save the X-ray in it as PNG"
    for offset, mark, kind, advice in _OTHERS:
        if head[offset : offset + len(mark)] == mark:
            return kind, advice
    text = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"%pdf-" in text:
        return "a PDF", "save the X-ray in it as JPEG or PNG"
    if b"<svg" in text:
        return "an SVG drawing", _SPEAK
    if text.startswith((b"<!doctype", b"<html")):
        return "a web page", "save the X-ray on it as JPEG or PNG"
    return None


# --- PNG


def _from_png(content: bytes, name: str) -> tuple[np.ndarray, Facts]:
    try:
        with _open_image(content, name) as image:
            return _read_png(image, content, name)
    except UnreadableImage:
        raise
    except Exception:
        # A profile or a text of many megabytes, or a damaged one, is not the picture.
        content = _only_picture(content)
        with _open_image(content, name) as image:
            return _read_png(image, content, name)


def _read_png(image: Image.Image, content: bytes, name: str) -> tuple[np.ndarray, Facts]:
    # IHDR comes first and has a fixed place for depth and colour type; of 16 bits, Pillow keeps
    # those of grey alone.
    depth, colour = content[24], content[25]
    if depth < 16 or colour == 0:
        image.load()
        return from_image(image, name)
    import imagecodecs

    orientation = orientation_of(image)
    grey, coloured = from_deep(imagecodecs.png_decode(_only_picture(content)), name)
    facts = Facts("PNG", f"{image.mode};16", frames_of(image), coloured)
    return upright(grey, orientation), facts


def _only_picture(content: bytes) -> bytes:
    """A PNG without the chunks that its picture does not need."""
    kept, position = [_PNG], len(_PNG)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if kind in _NEEDED_CHUNKS:
            kept.append(content[position:end])
        position = end
    return b"".join(kept)


# --- JPEG


def _deep_jpeg(content: bytes, name: str) -> tuple[np.ndarray, Facts] | None:
    """A JPEG of 12 or 16 bits, or a lossless one; None where it is of the usual kind."""
    frame = jpeg_frame(content)
    if frame is None or (frame.precision == 8 and frame.marker not in (0xC3, 0xF7)):
        return None
    check_pixels((frame.columns, frame.rows), name)
    values = decode_stream(content, frame)
    if values.dtype == np.uint8:
        grey, facts = from_image(Image.fromarray(values), name)
        return grey, dataclasses.replace(facts, format="JPEG")
    grey, coloured = from_deep(values, name)
    return grey, Facts("JPEG", f"{frame.precision} bit", coloured=coloured)


@dataclasses.dataclass(frozen=True)
class Frame:
    """What a compressed stream says of its own size.

    Attributes:
        marker: the second byte of JPEG's start of frame; 0x51 for JPEG 2000.
        precision: bits of a sample.
        rows, columns, samples: its size.
        signed: whether JPEG 2000 says that its samples are.
    """

    marker: int
    precision: int
    rows: int
    columns: int
    samples: int
    signed: bool = False


def jpeg_frame(stream: bytes) -> Frame | None:
    """The start of frame of a JPEG or JPEG-LS stream; None where there is none."""
    position = 2
    while position + 9 < len(stream):
        if stream[position] != 0xFF:
            position = stream.find(b"\xff", position)
            if position < 0:
                return None
            continue
        marker = stream[position + 1]
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            return None
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", stream, position + 4)
            return Frame(marker, precision, rows, columns, samples)
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
    return None


def jpeg2000_frame(stream: bytes) -> Frame | None:
    """The size of a JPEG 2000 codestream, bare or in a JP2 file; None where it says none."""
    start = stream.find(b"\xff\x4f\xff\x51", 0, 1 << 16)
    if start < 0 or start + 45 > len(stream):
        return None
    right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
    samples, depth = struct.unpack_from(">HB", stream, start + 40)
    return Frame(
        0x51, (depth & 0x7F) + 1, bottom - top, right - left, samples, signed=bool(depth & 0x80)
    )


def decode_stream(stream: bytes, frame: Frame) -> np.ndarray:
    """The samples of a JPEG, JPEG-LS or JPEG 2000 stream by imagecodecs, ``(H, W)`` or
    ``(H, W, C)``.
    """
    import imagecodecs

    if frame.marker == 0x51:
        return imagecodecs.jpeg2k_decode(stream)
    if frame.marker == 0xF7:
        return imagecodecs.jpegls_decode(stream)
    if frame.marker == 0xC3:
        return imagecodecs.ljpeg_decode(stream)
    return imagecodecs.jpeg8_decode(stream)


# --- TIFF


def _from_tiff(content: bytes, name: str) -> tuple[np.ndarray, Facts]:
    mode = None
    try:
        with _open_image(content, name) as image:
            mode = image.mode
            if _pillow_reads(image):
                image.load()
                if not _all_hidden(image):
                    return from_image(image, name)
    except UnreadableImage:
        raise
    except Exception:
        # What Pillow cannot open or decode, tifffile often can.
        mode = None
    with _tiff_page(content, name) as page:
        return _from_page(page, mode, name)


def _pillow_reads(image: Any) -> bool:
    """Whether Pillow gives each sample of a TIFF its value: of 8 unsigned bits at most."""
    tags = image.tag_v2
    bits = tags.get(258, (1,))
    photometric = tags.get(262, 1)
    if photometric in _INK_OR_YCBCR:
        return True
    # A palette is of 16 bits, of which Pillow takes the upper ones; some writers fill the lower.
    if photometric == 3:
        return max(bits) <= 8 and max(tags.get(320, (0,))) >= 256
    return max(bits) <= 8 and set(tags.get(339, (1,))) == {1}


def _all_hidden(image: Any) -> bool:
    """Whether Pillow divided the colours of a TIFF by an alpha that nobody filled in."""
    if image.mode != "RGBA" or 1 not in image.tag_v2.get(338, ()):
        return False
    return image.getchannel("A").getextrema()[1] <= UNUSED_ALPHA


@contextlib.contextmanager
def _tiff_page(content: bytes, name: str) -> Iterator[Any]:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        check_pixels((int(page.imagewidth), int(page.imagelength)), name)
        if not _LEAST <= int(page.samplesperpixel) <= _MOST_CHANNELS or page.imagedepth != 1:
            raise UnreadableImage(
                f"{name} is a TIFF of {page.samplesperpixel} channels and depth {page.imagedepth};"
                " save one grey picture of it."
            )
        yield page


def _from_page(page: Any, mode: str | None, name: str) -> tuple[np.ndarray, Facts]:
    values = np.asarray(page.asarray())
    # Samples one after the other, or a plane each.
    if values.ndim == 3 and page.axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    photometric, extra = int(page.photometric), [int(kind) for kind in page.extrasamples]
    if values.ndim not in (2, 3) or np.iscomplexobj(values) or photometric not in (0, 1, 2, 3):
        raise UnreadableImage(
            f"{name} is a TIFF of a kind that cannot be read here; save it as grey or RGB."
        )
    # A channel of no said meaning is no alpha; with an associated one, colours are laid over black.
    alpha = next((index for index, kind in enumerate(extra) if kind == 2), None)
    if values.ndim == 3:
        colours = 3 if photometric == 2 else 1
        kept = [*range(colours), *([] if alpha is None else [colours + alpha])]
        values = values[..., kept] if len(kept) > 1 else values[..., 0]
    bits, narrow = int(page.bitspersample), False
    if photometric == 3:
        grey, coloured = _from_palette(values, page, name)
    elif bits <= 8 and values.dtype in (np.bool_, np.uint8):
        values = np.rint(values * (255 / (2**bits - 1))).astype(np.uint8)
        if photometric == 0:
            values[..., slice(None) if values.ndim == 2 else 0] ^= 255
        grey, facts = from_image(Image.fromarray(np.ascontiguousarray(values)), name)
        coloured, narrow = facts.coloured, facts.narrow
    else:
        grey, coloured = from_deep(values, name, inverted=photometric == 0, opaque=2**bits - 1)
    grey = upright(grey, _tag(page, 274, 1))
    return grey, Facts(
        "TIFF", mode or str(values.dtype), _pages(page.parent), coloured, narrow=narrow
    )


def _pages(file: Any) -> int:
    try:
        return len(file.pages)
    except Exception:
        # The first page is whole, or it would not have come this far.
        return 1


def _from_palette(values: np.ndarray, page: Any, name: str) -> tuple[np.ndarray, float]:
    palette = np.asarray(page.colormap, dtype=np.float64)
    # 16 bits by the standard; writers that put 8 there are known.
    palette = np.rint(palette if palette.max() < 256 else palette // 256).astype(np.uint8)
    index = values.clip(0, palette.shape[1] - 1)
    grey, facts = from_image(Image.fromarray(np.ascontiguousarray(palette.T[index])), name)
    return grey, facts.coloured


def _tag(page: Any, code: int, default: int) -> int:
    tag = page.tags.get(code)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else default
