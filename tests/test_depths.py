"""Every depth, sign, byte order, layout and photometric interpretation that PNG, TIFF and DICOM
allow, against arithmetic from their definitions.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from test_dicom import chest, lut, write_dicom

from pneumonia import radiograph
from pneumonia.radiograph import UnreadableImage, read

HEIGHT, WIDTH = 40, 64
FULL = np.random.default_rng(0).integers(0, 4096, (HEIGHT, WIDTH))
FULL[0, 0], FULL[-1, -1] = 0, 4095


def stretch(values: np.ndarray) -> np.ndarray:
    """From the smallest to the largest value, rounded: what deep values without a window are."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


GREY = stretch(FULL)


def check(content: bytes, expected: np.ndarray, within: int = 0) -> radiograph.Facts:
    picture = read(content)
    difference = np.abs(picture.pixels.astype(int) - expected.astype(int))
    assert difference.max() <= within, f"{difference.max()} off, {(difference > within).mean():.0%}"
    return picture.facts


# --- TIFF
def tiff(values: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def of_type(dtype: str) -> np.ndarray:
    """FULL in a type: of 8 bits as they are, else with its sign."""
    if np.dtype(dtype).kind == "f":
        return (FULL / 4095 * 3 - 1).astype(dtype)
    return (FULL - (2000 if np.dtype(dtype).kind == "i" else 0)).astype(dtype)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_deep_tiffs(order, dtype, photometric, compression):
    values = of_type(dtype)
    content = tiff(values, byteorder=order, photometric=photometric, compression=compression)
    expected = stretch(values)
    check(content, 255 - expected if photometric == "miniswhite" else expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [
        {"tile": (16, 16)},
        {"rowsperstrip": 7},
        {"bigtiff": True},
        {"compression": "packbits"},
        {"compression": "zlib", "predictor": 2},
        {"compression": "zstd"},
    ],
)
def test_layouts_of_a_tiff(order, options):
    check(tiff(FULL.astype("u2"), byteorder=order, **options), GREY)
    check(tiff(np.dstack([FULL.astype("u2")] * 3), byteorder=order, **options), GREY)
    eight = (FULL >> 4).astype("u1")
    check(tiff(eight, byteorder=order, **options), eight)


def test_a_float_tiff_with_a_predictor():
    check(tiff(of_type("f4"), compression="zlib", predictor=3), stretch(of_type("f4")))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u2", "u4", "f4", "f8"])
def test_grey_stored_as_deep_colour(order, planar, dtype):
    values = of_type(dtype)
    shown = stretch(values)
    three = np.stack([values] * 3, axis=-1 if planar == "contig" else 0)
    facts = check(tiff(three, byteorder=order, photometric="rgb", planarconfig=planar), shown)
    assert facts.coloured == 0


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("alpha", ["opaque", "none", "half", "varied"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_alpha_of_tiffs(extra, colours, alpha, dtype):
    top = np.iinfo(dtype).max
    values = (FULL >> 4 if dtype == "u1" else FULL * 16).astype(dtype)
    opacity = {"opaque": top, "none": 0, "half": top // 2, "varied": None}[alpha]
    alphas = np.full(values.shape, opacity or 0, dtype)
    if alpha == "varied":
        alphas[: HEIGHT // 2] = top
    stored = values
    if extra == "assocalpha" and alpha in ("half", "varied"):
        stored = (values.astype(float) * (alphas / top)).astype(dtype)
    content = tiff(
        np.dstack([stored] * colours + [alphas]),
        photometric="rgb" if colours == 3 else "minisblack",
        extrasamples=[extra],
        planarconfig="contig",
    )
    shown = values.astype(float)
    if extra != "unspecified" and alpha == "varied":
        shown[HEIGHT // 2 :] = 0
    if extra != "unspecified" and alpha == "half" and dtype == "u1":
        shown = shown / 2
    # 8 bits premultiplied are divided and multiplied again, each time rounded.
    check(content, stretch(shown) if dtype == "u2" else np.rint(shown), 1 if top > 255 else 2)


def pack_samples(values: np.ndarray, bits: int) -> bytes:
    """Samples one after another, the highest bit first, a row beginning with a byte (TIFF 6)."""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits((values[..., np.newaxis] >> shifts & 1).reshape(len(values), -1), axis=1)


def small_tiff(data: bytes, bits: int, photometric: int, order: str, *more: tuple) -> bytes:
    """A TIFF of one strip, tag by tag."""
    tags = [
        (256, WIDTH),
        (257, HEIGHT),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, HEIGHT),
        (279, len(data)),
        *more,
    ]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    entries = b"".join(
        struct.pack(f"{order}HHII", code, 4, 1, value)
        if code in (256, 257, 273, 278, 279)
        else struct.pack(f"{order}HHIHH", code, 3, 1, value, 0)
        for code, value in sorted(tags)
    )
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14])
def test_packed_tiffs(order, photometric, bits):
    values = FULL >> (12 - bits) if bits <= 12 else FULL << (bits - 12)
    content = small_tiff(pack_samples(values, bits).tobytes(), bits, photometric, order)
    expected = np.rint(values * (255 / (2**bits - 1))) if bits <= 8 else stretch(values)
    check(content, 255 - expected if photometric == 0 else expected)


def test_a_tiff_of_reversed_bits():
    eight = (FULL >> 4).astype("u1")
    turned = np.packbits(np.unpackbits(eight[..., np.newaxis], axis=-1)[..., ::-1], axis=-1)
    check(small_tiff(turned.tobytes(), 8, 1, "<", (266, 2)), eight)


@pytest.mark.parametrize("most", [65535, 255])
@pytest.mark.parametrize("bits", [4, 8])
def test_palettes_of_tiffs(most, bits):
    """Of 16 bits; some writers fill 8 of them."""
    index = (FULL >> (12 - bits)).astype("u1")
    shades = np.linspace(0, most, 2**bits).astype("u2")
    content = tiff(FULL.astype("u1"), photometric="minisblack")
    content = small_tiff(pack_samples(index, bits).tobytes(), bits, 3, "<")
    # The colour map is the one tag that does not fit its entry.
    table = np.concatenate([shades] * 3).astype("<u2").tobytes()
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    end = start + 2 + 12 * count
    where = len(content) + 12
    entry = struct.pack("<HHII", 320, 3, 3 * 2**bits, where)
    content = (
        content[:start]
        + struct.pack("<H", count + 1)
        + content[start + 2 : end]
        + entry
        + bytes(4)
        + table
    )
    expected = shades[index] // (256 if most > 255 else 1)
    check(content, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_are_turned_upright(orientation):
    stored = np.zeros((HEIGHT, WIDTH), "u2")
    stored[:5, :9] = FULL[:5, :9]
    deep = tiff(np.dstack([stored] * 3), photometric="rgb", extratags=[(274, 3, 1, orientation)])
    eight = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stretch(stored)).save(eight, "PNG", exif=exif)
    check(deep, read(eight.getvalue()).pixels)


def test_a_page_of_too_many_channels_is_named():
    with pytest.raises(UnreadableImage, match="TIFF of 40 channels"):
        read(tiff(np.zeros((HEIGHT, WIDTH, 40), "u2"), planarconfig="contig"))


# --- PNG
def png(values: np.ndarray, colour: int, depth: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    if depth < 8:
        rows = [row.tobytes() for row in pack_samples(values, depth)]
    else:
        rows = [row.astype(f">u{depth // 8}").tobytes() for row in values]
    head = struct.pack(">IIBBBBB", values.shape[1], len(values), depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(chunk(*one) for one in chunks)
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("times", [1, 16])
@pytest.mark.parametrize(("colour", "channels"), [(0, "v"), (4, "va"), (2, "vvv"), (6, "vvva")])
def test_16_bit_pngs(times, colour, channels):
    values = {"v": FULL * times, "a": np.full(FULL.shape, 65535)}
    stacked = np.dstack([values[channel] for channel in channels])
    facts = check(png(stacked, colour, 16), GREY)
    assert (facts.format, facts.coloured) == ("PNG", 0)


def test_colour_of_16_bits_is_seen():
    # Red and blue of one luma, a half each.
    colours = np.zeros((HEIGHT, WIDTH, 3), int)
    colours[:, : WIDTH // 2, 0], colours[:, WIDTH // 2 :, 2] = 24900, 65535
    assert read(png(colours, 2, 16)).facts.coloured > 0.4


@pytest.mark.parametrize("colour", [4, 6])
def test_alpha_of_16_bits_is_laid_over_black(colour):
    alpha = np.full(FULL.shape, 65535)
    alpha[: HEIGHT // 2] = 0
    shown = FULL * 16
    shown[: HEIGHT // 2] = 0
    stacked = np.dstack([FULL * 16] * (1 if colour == 4 else 3) + [alpha])
    check(png(stacked, colour, 16), stretch(shown))


@pytest.mark.parametrize("alpha", [0, 1, 255, 40000])
@pytest.mark.parametrize("colour", [4, 6])
def test_an_alpha_that_is_the_same_everywhere_says_nothing(alpha, colour):
    stacked = np.dstack([FULL] * (1 if colour == 4 else 3) + [np.full(FULL.shape, alpha)])
    check(png(stacked, colour, 16), GREY)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_shallow_pngs(bits):
    values = FULL >> (12 - bits)
    check(png(values, 0, bits), np.rint(values * (255 / (2**bits - 1))))


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iCCP", b"big\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iCCP", b"not a profile"),
        (b"zTXt", b"note\0\0" + zlib.compress(b"x" * 70_000_000)),
        (b"tEXt", b"note\0" + b"x" * 3_000_000),
        (b"iTXt", b"note\0\1\0\0\0" + b"no deflate"),
        (b"pHYs", b"\0"),
        (b"cHRM", b""),
        (b"eXIf", b"nothing of the kind"),
    ],
    ids=["large profile", "bad profile", "bomb of text", "text", "bad text", "a", "b", "c"],
)
def test_what_a_png_carries_beside_its_picture_does_not_matter(chunk):
    eight = (FULL >> 4).astype("u1")
    check(png(eight, 0, 8, chunk), eight)
    check(png(np.dstack([FULL] * 3), 2, 16, chunk), GREY)


def test_an_image_that_pillow_has_opened_and_not_decoded_keeps_its_depth():
    for content in (
        png(np.dstack([FULL] * 3), 2, 16),
        tiff(np.dstack([FULL.astype("u2")] * 3), photometric="rgb"),
    ):
        image = Image.open(io.BytesIO(content))
        np.testing.assert_array_equal(read(image).pixels, GREY)
        image.load()


# --- JPEG
def test_a_jpeg_of_12_bits():
    content = imagecodecs.jpeg8_encode(FULL.astype("u2"), level=100, bitspersample=12)
    check(content, GREY, 1)


def test_a_lossless_jpeg():
    eight = (FULL >> 4).astype("u1")
    check(imagecodecs.jpeg8_encode(eight, lossless=True), eight)
    check(imagecodecs.ljpeg_encode(FULL.astype("u2"), bitspersample=12), GREY)


# --- a sliver of the range
def test_8_bits_that_use_a_sliver_are_stretched_and_said_to_be():
    sliver = (FULL >> 8).astype("u1")
    picture = read(sliver)
    assert picture.facts.narrow
    assert picture.pixels.max() == 255
    assert not read((FULL >> 4).astype("u1")).facts.narrow
    assert not read((FULL >> 9).astype("u1")).facts.narrow, "blank rather than dark"


@pytest.mark.parametrize("dtype", ["u2", "f4", "i4"])
def test_a_few_pixels_far_from_all_others_do_not_flatten_them(dtype):
    values = FULL.astype(dtype)
    values[5, :20] = 65535 if dtype == "u2" else 1_000_000
    found = read(values).pixels.astype(int)
    rest = np.ones(values.shape, bool)
    rest[5, :20] = False
    assert np.abs(found - GREY)[rest].max() <= 6
    assert set(found[5, :20]) == {255}


# --- DICOM
SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
]


def store_values(values: np.ndarray, syntax: str, **elements) -> bytes:
    dataset = chest(values, **elements)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
        return write_dicom(dataset)
    dataset = chest(values, syntax=syntax, **elements)
    return write_dicom(
        dataset,
        little_endian=syntax != ExplicitVRBigEndian,
        implicit_vr=syntax == ImplicitVRLittleEndian,
    )


# Allocated, stored, the highest; pydicom writes run-length frames of some of them.
LAYOUTS = [
    *((8, 8, 7), (16, 12, 11), (16, 12, 15), (16, 12, 13), (16, 10, 15), (16, 16, 15)),
    *((16, 8, 7), (32, 12, 11), (32, 32, 31), (32, 16, 31)),
]
PLACES = [
    (syntax, *layout)
    for syntax in SYNTAXES
    for layout in LAYOUTS
    if syntax != RLELossless or (layout[0] < 32 and layout[1] != 8)
]


@pytest.mark.parametrize(("syntax", "allocated", "bits", "high"), PLACES)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("above", ["empty", "sign", "overlay"])
def test_where_the_bits_of_a_sample_lie(syntax, photometric, signed, allocated, bits, high, above):
    # PS3.5 8.1.1: BitsStored of them, the highest at HighBit; in the others anything may be.
    numbers = FULL >> max(0, 12 - bits)
    numbers = numbers - (1 << (min(bits, 12) - 1)) if signed else numbers
    words = (numbers & (2**bits - 1)) << (high + 1 - bits)
    if above == "sign" and signed and high == bits - 1:
        words = numbers & (2**allocated - 1)
    if above == "overlay":
        flags = np.zeros(FULL.shape, np.int64)
        flags[10:20, 10:30] = (1 << allocated) - 1
        words |= flags & ~((2**bits - 1) << (high + 1 - bits))
    content = store_values(
        words.astype(f"<u{allocated // 8}"),
        syntax,
        PhotometricInterpretation=photometric,
        BitsStored=bits,
        HighBit=high,
        PixelRepresentation=int(signed),
    )
    expected = numbers.astype("u1") if (allocated, signed) == (8, False) else stretch(numbers)
    check(content, 255 - expected if photometric == "MONOCHROME1" else expected)


def test_fewer_bits_than_are_used():
    """BitsStored says 8 of values that have 12: cut short they would be noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    values = (x * 60 + y).astype("<u2")
    check(store_values(values, ExplicitVRLittleEndian, BitsStored=8, HighBit=7), stretch(values))


def test_a_high_bit_that_is_not_true():
    check(store_values(FULL.astype("<u2"), ExplicitVRLittleEndian, BitsStored=12, HighBit=15), GREY)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_packed_without_regard_to_bytes(bits):
    values = FULL >> 12 - min(12, bits)
    each = values.ravel()[:, np.newaxis] >> np.arange(bits) & 1
    data = np.packbits(each.astype("u1").ravel(), bitorder="little").tobytes()
    dataset = chest(FULL.astype("<u2"), BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1)
    dataset["PixelData"] = pydicom.DataElement("PixelData", "OW", data)
    check(write_dicom(dataset), stretch(values))


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_float_pixels(keyword, photometric):
    kind = "<f4" if keyword == "FloatPixelData" else "<f8"
    values = (FULL / 10 - 100).astype(kind)
    values[3] = -1e6
    dataset = chest(values, PhotometricInterpretation=photometric)
    for absent in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, absent)
    setattr(dataset, keyword, values.tobytes())
    setattr(dataset, keyword.replace("Data", "PaddingValue"), -1e6)
    rest = values[np.arange(HEIGHT) != 3]
    expected = np.rint((values.astype(float) - rest.min()) * (255 / np.ptp(rest)))
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    expected[3] = 0
    check(write_dicom(dataset), expected, 1)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_grey_stored_as_colour(syntax, planar, dtype):
    values = (FULL >> 4 if dtype == "u1" else FULL).astype(dtype)
    three = np.stack([values] * 3, axis=0 if planar else -1)
    dataset = chest(np.dstack([values] * 3), PlanarConfiguration=planar)
    word = "OB" if dtype == "u1" else "OW"
    if syntax == RLELossless:
        dataset = chest(np.dstack([values] * 3))
        dataset.compress(RLELossless, generate_instance_uid=False)
        content = write_dicom(dataset)
    else:
        big = syntax == ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
        data = three.astype(three.dtype.newbyteorder(">" if big else "<")).tobytes()
        dataset["PixelData"] = pydicom.DataElement("PixelData", word, data)
        content = write_dicom(
            dataset, little_endian=not big, implicit_vr=syntax == ImplicitVRLittleEndian
        )
    facts = check(content, values if dtype == "u1" else GREY)
    assert facts.coloured == 0


@pytest.mark.parametrize(
    ("photometric", "stack"),
    [
        ("YBR_FULL", lambda v: np.dstack([v, np.full_like(v, 128), np.full_like(v, 128)])),
        ("HSV", lambda v: np.dstack([np.zeros_like(v), np.zeros_like(v), v])),
        ("ARGB", lambda v: np.dstack([np.full_like(v, 255), v, v, v])),
        ("CMYK", lambda v: np.dstack([255 - v, 255 - v, 255 - v, np.zeros_like(v)])),
        ("rgb", lambda v: np.dstack([v] * 3)),
        ("", lambda v: np.dstack([v] * 3)),
    ],
    ids=["YBR_FULL", "HSV", "ARGB", "CMYK", "lower case", "none"],
)
def test_colour_spaces(photometric, stack):
    eight = (FULL >> 4).astype("u1")
    dataset = chest(stack(eight), PhotometricInterpretation=photometric)
    facts = check(write_dicom(dataset), eight, 1)
    assert facts.coloured == 0


def test_subsampled_colour():
    eight = (FULL >> 4).astype("u1")
    # Two samples of luma, then the colour differences of both.
    cells = np.full((HEIGHT, WIDTH // 2, 4), 128, "u1")
    cells[..., :2] = eight.reshape(HEIGHT, WIDTH // 2, 2)
    for photometric, expected in (
        ("YBR_FULL_422", eight),
        ("YBR_PARTIAL_422", np.rint((eight.astype(float) - 16) * 255 / 219).clip(0, 255)),
    ):
        dataset = chest(np.dstack([eight] * 3), PhotometricInterpretation=photometric)
        dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", cells.tobytes())
        check(write_dicom(dataset), expected, 1)


@pytest.mark.parametrize(("bits", "said"), [(8, 8), (8, 16), (12, 16), (16, 16)])
def test_palettes_of_dicom(bits, said):
    shades = np.linspace(0, 2**bits - 1, 256).round().astype(int)
    dataset = chest((FULL >> 4).astype("u1"), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, said])
        data = shades.astype("u1" if said == 8 else "<u2").tobytes()
        setattr(dataset, f"{colour}PaletteColorLookupTableData", data)
    check(write_dicom(dataset), np.rint(shades[FULL >> 4] * (255 / (2**bits - 1))))


def test_a_palette_that_is_missing_is_named():
    with pytest.raises(UnreadableImage, match="palette that is missing or damaged"):
        read(
            write_dicom(chest((FULL >> 4).astype("u1"), PhotometricInterpretation="PALETTE COLOR"))
        )


def voi(entries: np.ndarray, said: int, first: int = 0, vr: str = "OW") -> Sequence:
    item = lut([0], first, said)[0]
    item.LUTDescriptor = [len(entries) % 65536, first, said]
    data = entries.astype("u1" if said <= 8 and vr == "OB" else "<u2").tobytes()
    value = data if vr.startswith("O") else entries.astype("<u2").tolist()
    item["LUTData"] = pydicom.DataElement("LUTData", "OW" if vr == "OB" else vr, value)
    return Sequence([item])


@pytest.mark.parametrize("vr", ["OW", "US"])
@pytest.mark.parametrize(
    ("used", "said"),
    list(itertools.combinations_with_replacement([8, 10, 12, 14, 16], 2)),
)
def test_voi_luts_by_the_bits_their_entries_use(vr, used, said):
    entries = np.linspace(0, 2**used - 1, 4096).round()
    content = write_dicom(
        chest(FULL.astype("<u2"), bits=12, VOILUTSequence=voi(entries, said, 0, vr))
    )
    check(content, np.rint(entries[FULL] * (255 / (2**used - 1))))


def test_voi_lut_of_bytes():
    entries = np.arange(256)
    eight = (FULL >> 4).astype("u1")
    check(write_dicom(chest(eight, VOILUTSequence=voi(entries, 8, 0, "OB"))), eight)


@pytest.mark.parametrize("first", [-2000, -2000 & 0xFFFF])
def test_luts_of_signed_values(first):
    """The first value may be stored as a signed or as an unsigned word."""
    values = (FULL - 2000).astype("<i2")
    dataset = chest(values, bits=16, VOILUTSequence=voi(np.arange(4096), 12))
    item = dataset.VOILUTSequence[0]
    vr = "SS" if first < 0 else "US"
    item["LUTDescriptor"] = pydicom.DataElement("LUTDescriptor", vr, [4096, first, 12])
    check(write_dicom(dataset), np.rint(FULL * (255 / 4095)))


def test_a_lut_of_65536_entries():
    values = (FULL * 16).astype("<u2")
    content = write_dicom(chest(values, VOILUTSequence=voi(np.arange(65536), 16)))
    check(content, np.rint(values * (255 / 65535)))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_modality_luts_of_every_depth(bits):
    entries = (2**bits - 1) - np.linspace(0, 2**bits - 1, 4096).round()
    dataset = chest(FULL.astype("<u2"), bits=12, ModalityLUTSequence=voi(entries, bits))
    check(write_dicom(dataset), stretch(entries[FULL]))


PADDINGS = [
    ("<u2", "US", 65535),
    ("<u2", "SS", -1),
    ("<u2", "US", [65535, 65535]),
    ("<u2", "SS", [-1, -1]),
    ("<u2", "IS", "65535"),
    ("<u2", "UN", b"\xff\xff"),
    ("<i2", "SS", -1000),
    ("<i2", "US", -1000 & 0xFFFF),
    ("<i2", "SS", -32768),
    ("<i2", "US", 32768),
    ("u1", "US", 255),
    ("u1", "SS", -1),
    ("u1", "US", 65535),
]


@pytest.mark.parametrize(("dtype", "vr", "value"), PADDINGS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_however_it_is_written(dtype, vr, value, photometric):
    values = (FULL >> 5).astype(dtype) if dtype == "u1" else FULL.astype(dtype)
    word = int.from_bytes(value, "little") if isinstance(value, bytes) else value
    word = int(word[0] if isinstance(word, list) else word)
    rest = values[4:].copy()
    values[:4] = np.array([word % 2 ** (8 * values.itemsize)], f"u{values.itemsize}").view(dtype)
    dataset = chest(values, PhotometricInterpretation=photometric)
    dataset["PixelPaddingValue"] = pydicom.DataElement(0x00280120, vr, value)
    expected = np.zeros(FULL.shape)
    shown = rest if dtype == "u1" else stretch(rest)
    expected[4:] = 255 - shown if photometric == "MONOCHROME1" else shown
    check(write_dicom(dataset), expected)


@pytest.mark.parametrize(
    ("vr", "ends"), [("SS", (-1, -3)), ("US", (65533, 65535)), ("US", (65535, 65533))]
)
def test_a_range_of_padding(vr, ends):
    values = FULL.astype("<u2")
    values[:4] = np.array([65533, 65534, 65535, 65533])[:, np.newaxis]
    dataset = chest(values)
    dataset["PixelPaddingValue"] = pydicom.DataElement(0x00280120, vr, ends[0])
    dataset["PixelPaddingRangeLimit"] = pydicom.DataElement(0x00280121, vr, ends[1])
    expected = stretch(FULL[4:])
    picture = read(write_dicom(dataset)).pixels
    np.testing.assert_array_equal(picture[4:], expected)
    assert not picture[:4].any()


def test_padding_in_12_bits_that_fills_16():
    values = FULL.astype("<u2")
    values[:4] = 65535
    content = write_dicom(chest(values, bits=12, PixelPaddingValue=65535))
    picture = read(content).pixels
    np.testing.assert_array_equal(picture[4:], stretch(FULL[4:]))
    assert not picture[:4].any()


def test_undeclared_padding_does_not_flatten_the_picture():
    values = FULL.astype("<u2")
    values[:3] = 65535
    picture = read(write_dicom(chest(values))).pixels
    assert np.abs(picture[3:].astype(int) - stretch(FULL[3:])).max() <= 6


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("codec", ["jpegls", "lossless", "extended"])
def test_deep_streams(signed, codec):
    if codec == "extended":
        stream = imagecodecs.jpeg8_encode(FULL.astype("u2"), level=100, bitspersample=12)
        syntax = JPEGExtended12Bit
    elif codec == "lossless":
        stream = imagecodecs.ljpeg_encode(FULL.astype("u2"), bitspersample=12)
        syntax = JPEGLosslessSV1
    else:
        stream = imagecodecs.jpegls_encode(FULL.astype("u2"))
        syntax = JPEGLSLossless
    numbers = np.where(FULL > 2047, FULL - 4096, FULL) if signed else FULL
    dataset = chest(FULL.astype("<u2"), syntax=syntax, bits=12, PixelRepresentation=int(signed))
    dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate([stream]))
    dataset["PixelData"].is_undefined_length = True
    expected = stretch(numbers)
    picture = read(write_dicom(dataset)).pixels.astype(int)
    wrong = np.abs(picture - expected) > (1 if codec == "extended" else 0)
    # Lossy: 2047 and 2048 are neighbours as stored and the ends as signed.
    assert wrong.mean() < (0.01 if codec == "extended" else 1e-9)


# --- display elements that cannot be used
def raw(dataset: pydicom.Dataset, **elements: tuple[str, bytes]) -> bytes:
    """A file, explicit and little endian, in which elements have a VR and a value that pydicom
    would not write.
    """
    content = write_dicom(dataset)
    start = position = 144 + int.from_bytes(content[140:144], "little")
    parts = {}
    while position < len(content):
        group, element, vr, length = struct.unpack_from("<HH2sH", content, position)
        end = position + 8 + length
        if vr in (b"OB", b"OW", b"SQ", b"UN"):
            end = position + 12 + int.from_bytes(content[position + 8 : position + 12], "little")
        parts[group, element] = content[position:end]
        position = end
    for keyword, (vr, value) in elements.items():
        tag, even = pydicom.tag.Tag(keyword), value.ljust(len(value) + len(value) % 2)
        head = struct.pack("<HH2s", tag.group, tag.element, vr.encode())
        size = struct.pack("<HI", 0, len(even)) if vr == "SQ" else struct.pack("<H", len(even))
        parts[tag.group, tag.element] = head + size + even
    return content[:start] + b"".join(parts[tag] for tag in sorted(parts))


@pytest.mark.parametrize(
    ("keyword", "vr"),
    [
        *((keyword, "DS") for keyword in ("RescaleSlope", "RescaleIntercept")),
        *((keyword, "DS") for keyword in ("WindowCenter", "WindowWidth")),
        *((keyword, "US") for keyword in ("BitsStored", "HighBit", "PixelRepresentation")),
        *((keyword, "US") for keyword in ("SamplesPerPixel", "PixelPaddingValue")),
        *((keyword, "CS") for keyword in ("PhotometricInterpretation", "VOILUTFunction")),
        ("NumberOfFrames", "IS"),
        *((keyword, "SQ") for keyword in ("VOILUTSequence", "ModalityLUTSequence")),
        ("SharedFunctionalGroupsSequence", "SQ"),
    ],
)
@pytest.mark.parametrize("value", [b"", b"??", b"\xff\xff\xff\xff", b"1e999 ", b"\\\\", b"NaN "])
def test_one_unusable_element_costs_nothing_else(keyword, vr, value):
    content = raw(chest(FULL.astype("<u2"), bits=12), **{keyword: (vr, value)})
    # A number of two characters is a padding like another, and none that is there.
    np.testing.assert_array_equal(read(content).pixels, GREY)


@pytest.mark.parametrize(
    ("centre", "width"),
    [
        (b"2047,5", b"4096,0"),
        (b"\\2047.5", b"\\4096 "),
        (b"2047.5\\", b"4096\\"),
        (b"x\\2047.5", b"4096\\4096 "),
        (b"1\\2047.5", b"0\\4096"),
        (b" 2047.5 ", b"4.096e3 "),
    ],
)
def test_the_first_window_that_can_be_used(centre, width):
    windows = {"WindowCenter": ("DS", centre), "WindowWidth": ("DS", width)}
    content = raw(chest(FULL.astype("<u2"), bits=12), **windows)
    check(content, np.rint(((FULL - 2047) / 4095 + 0.5).clip(0, 1) * 255))


@pytest.mark.parametrize("place", ["Shared", "PerFrame"])
def test_a_window_and_rescale_in_functional_groups(place):
    group, window, rescale = (pydicom.Dataset() for _ in range(3))
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = 0, 2000, "LINEAR_EXACT"
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -2000, "US"
    group.FrameVOILUTSequence = Sequence([window])
    group.PixelValueTransformationSequence = Sequence([rescale])
    dataset = chest(FULL.astype("<u2"), bits=12, NumberOfFrames=1)
    setattr(dataset, f"{place}FunctionalGroupsSequence", Sequence([group]))
    check(write_dicom(dataset), np.rint(((FULL - 2000) / 2000 + 0.5).clip(0, 1) * 255))


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_size_that_is_missing_is_named(keyword):
    dataset = chest(FULL.astype("<u2"))
    delattr(dataset, keyword)
    with pytest.raises(UnreadableImage, match=f"does not say how many {keyword.lower()}"):
        read(write_dicom(dataset))


def test_allocated_bits_that_are_missing_are_found():
    dataset = chest(FULL.astype("<u2"), bits=12)
    del dataset.BitsAllocated
    check(write_dicom(dataset), GREY)
    dataset = chest((FULL >> 4).astype("u1"))
    del dataset.BitsAllocated
    check(write_dicom(dataset), FULL >> 4)


# --- the file around it
@pytest.mark.parametrize("cut", [0, 128, 132])
def test_a_missing_preamble(cut):
    check(write_dicom(chest(FULL.astype("<u2"), bits=12))[cut:], GREY)


def test_a_transfer_syntax_that_is_missing_or_unheard_of():
    for syntax in ("", "1.2.3.4.5"):
        dataset = chest(FULL.astype("<u2"), bits=12)
        content = write_dicom(dataset).replace(
            ExplicitVRLittleEndian.encode().ljust(20, b"\0"), syntax.encode().ljust(20, b"\0")
        )
        assert ExplicitVRLittleEndian.encode() not in content
        check(content, GREY)


@pytest.mark.parametrize("syntax", ["1.2.3.4.5", "nonsense", ""])
def test_a_stream_of_an_unheard_of_syntax_tells_what_it_is(syntax):
    eight = (FULL >> 4).astype("u1")
    for stream in (
        imagecodecs.jpeg2k_encode(eight, codecformat="j2k", level=0),
        imagecodecs.jpegls_encode(eight),
    ):
        dataset = chest(eight, syntax=JPEGLSLossless)
        dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate([stream]))
        dataset["PixelData"].is_undefined_length = True
        said = JPEGLSLossless.encode()
        check(write_dicom(dataset).replace(said, syntax.encode().ljust(len(said), b"\0")), eight)
    dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate([b"no stream"]))
    dataset["PixelData"].is_undefined_length = True
    content = write_dicom(dataset).replace(said, syntax.encode().ljust(len(said), b"\0"))
    with pytest.raises(UnreadableImage, match="which cannot be read here"):
        read(content)


@pytest.mark.parametrize("where", ["AvailableTransferSyntaxUID", "ImageComments"])
def test_a_deflated_syntax_that_is_only_mentioned(where):
    dataset = chest((FULL >> 4).astype("u1"))
    setattr(dataset, where, str(DeflatedExplicitVRLittleEndian))
    check(write_dicom(dataset), FULL >> 4)


def test_a_deflated_data_set_with_a_zlib_header():
    content = store_values(FULL.astype("<u2"), DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(content[140:144], "little")
    plain = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    check(content[:start] + zlib.compress(plain), GREY)


@pytest.mark.parametrize(("rows", "columns"), [(40, 64), (8000, 64), (64, 8000)])
def test_a_stream_of_another_size_than_its_header_is_not_decoded(rows, columns, monkeypatch):
    monkeypatch.setattr("pneumonia.dicom._by_codec", lambda *_: pytest.fail("it was decoded"))
    eight = np.zeros((rows // 100 + 1, columns // 100 + 1), "u1")
    for syntax, stream in (
        ("1.2.840.10008.1.2.4.50", imagecodecs.jpeg8_encode(eight)),
        ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode(eight)),
        ("1.2.840.10008.1.2.4.90", imagecodecs.jpeg2k_encode(eight, codecformat="j2k")),
    ):
        dataset = chest((FULL >> 4).astype("u1"), syntax=syntax)
        dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate([stream]))
        dataset["PixelData"].is_undefined_length = True
        with pytest.raises(UnreadableImage, match=r"says 64x40 pixels and holds|too many"):
            read(write_dicom(dataset))


def test_a_run_length_bomb_is_not_unpacked():
    segment = b"\x81\0" * 1_000_000
    stream = struct.pack("<16I", 1, 64, *[0] * 14) + segment
    dataset = chest((FULL >> 4).astype("u1"), syntax=RLELossless)
    dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate([stream]))
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(UnreadableImage, match="unpacks to more than its 64x40 pixels"):
        read(write_dicom(dataset))


# --- other files
@pytest.mark.parametrize(
    ("content", "kind", "advice"),
    [
        (b"%PDF-1.7", "a PDF", "JPEG or PNG"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC photo", "export it as JPEG or PNG"),
        (b"\0\0\0\x18ftypmif1" + bytes(20), "a HEIC photo", "export it as JPEG or PNG"),
        (b"\0\0\0\x18ftypavif" + bytes(20), "an AVIF", "export it as JPEG or PNG"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "a video", "one still picture"),
        (b"\0\0\0\x14ftypqt  " + bytes(20), "a video", "one still picture"),
        (b"\x1aE\xdf\xa3" + bytes(20), "a video", "one still picture"),
        (b"PK\3\4" + bytes(26) + b"xray.png", "a zip archive", "use Batch"),
        (b"PK\3\4" + bytes(26) + b"[Content_Types].xml", "an Office file", "as PNG"),
        (b"PK\3\4" + bytes(26) + b"word/document.xml", "an Office file", "as PNG"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20), "an Office file", "as PNG"),
        (b"Rar!\x1a\7\0", "a RAR archive", "unpack it"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing", "JPEG or PNG"),
        (b"<!DOCTYPE html><html></html>", "a web page", "JPEG or PNG"),
        (bytes(344) + b"n+1\0", "a NIfTI volume", "one X-ray as PNG"),
    ],
)
def test_what_is_no_picture_is_named_and_helped(content, kind, advice):
    with pytest.raises(UnreadableImage, match=f"upload is {kind}.*{advice}"):
        read(content)
