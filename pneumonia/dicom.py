"""DICOM to grey pixels: rescaled, windowed and turned the right way round as a viewing station
would show them, with nothing of the patient kept. What is read of a file, and what becomes of an
element that cannot be used, says :mod:`pneumonia.dicom_header`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_color_lut, apply_windowing, get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from pneumonia import dicom_header
from pneumonia.dicom_header import Header, Window, is_dicom, parse, read_header
from pneumonia.pictures import Frame, decode_stream, jpeg2000_frame, jpeg_frame
from pneumonia.pixels import (
    Facts,
    UnreadableImage,
    check_pixels,
    explain_errors,
    from_deep,
    from_image,
    narrow_range,
    slices,
    stretch,
    widen_range,
)

__all__ = ["SUFFIXES", "decode", "header_size", "is_dicom"]

SUFFIXES = (".dcm", ".dicom")

# Where this share of the pixels is black, or white, a window shows nothing of them.
_NOTHING = 0.98
_SUBSAMPLED = ("YBR_PARTIAL_422", "YBR_PARTIAL_420")
_STDERR = threading.Lock()


def decode(content: bytes, name: str) -> tuple[np.ndarray, Facts]:
    """The picture of a DICOM file, uint8 ``(H, W)``, as it is meant to be seen, and what it says of
    itself.

    Stored values go through the modality LUT or rescale, then the first VOI LUT or window that can
    be used (PS3.3 C.11.1 and C.11.2). Where there is none, 8-bit values are kept and deeper ones
    stretched from their own range, padding left out of it. MONOCHROME1, in which low is bright, is
    inverted; colour becomes luma. Overlays are not drawn.

    Raises:
        UnreadableImage: it holds no picture, several of them, a damaged one, one of over 50
            megapixels, or one compressed in a way no installed decoder reads.
    """
    with explain_errors(name):
        dataset, header = _parse_and_check(content, name)
        # What is in the file twice, here and in the data set, is not kept.
        del content
        values = _samples(dataset, header, name)
        if header.samples > 1 or header.photometric == "PALETTE COLOR":
            grey, coloured, narrow = _from_colour(dataset, header, values, name)
            return grey, _facts(dataset, header, coloured, narrow)
        grey, narrow = _from_grey(header, values, name)
        return grey, _facts(dataset, header, 0.0, narrow)


def header_size(content: bytes, name: str) -> tuple[int, int]:
    """Height and width in pixels, without decoding a pixel; raises as :func:`decode` does."""
    with explain_errors(name):
        _, header = _parse_and_check(content, name)
        return header.rows, header.columns


def _parse_and_check(content: bytes, name: str) -> tuple[Dataset, Header]:
    dataset = parse(content, name)
    if not any(keyword in dataset for keyword in dicom_header.PIXELS):
        # The name of a SOP class is one of a fixed list, such as "RT Plan Storage".
        uid = dicom_header.text_of(dataset, "SOPClassUID")
        known = UID(uid)
        kind = f" ({known.name})" if known.name != known else ""
        raise UnreadableImage(
            f"{name} is a DICOM file without a picture{kind}; export the X-ray itself."
        )
    header = read_header(dataset, name)
    check_pixels((header.columns, header.rows), name)
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableImage(
            f"{name} is compressed as {dicom_header.uid_name(syntax)}, which cannot be read here;"
            " export it uncompressed, or as PNG or JPEG."
        ) from None
    if header.frames > 1:
        # Which frame of a cine loop or a volume is the X-ray, if any is, only its sender knows.
        raise UnreadableImage(
            f"{name} holds {header.frames} frames, and one X-ray is expected; export the one you"
            " mean."
        )
    if header.samples not in (1, 3, 4):
        raise UnreadableImage(
            f"{name} has {header.samples} samples a pixel, and 1 of grey or 3 of colour are"
            " expected; export it again."
        )
    return dataset, header


# --- from the file to stored values


def _samples(dataset: Dataset, header: Header, name: str) -> np.ndarray:
    """Stored values, ``(H, W)`` or ``(H, W, C)`` as RGB: where they come in whole words, the words
    as unsigned numbers, with all bits that a word has.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if header.pixels == "PixelData" and syntax.is_compressed:
        stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if syntax == RLELossless:
            return _decode_samples(dataset, header, syntax, _check_rle(stream, header, name))
        return _decompress(dataset, header, stream, name)
    data, bits = dataset[header.pixels].value, header.bits_allocated
    if header.pixels != "PixelData":
        bits = 32 if header.pixels == "FloatPixelData" else 64
    count = header.rows * header.columns * header.samples
    if header.photometric in ("YBR_FULL_422", *_SUBSAMPLED):
        count = count // 3 * 2
    if header.bits_stored <= 8 < bits and len(data) < count * bits // 8 and len(data) >= count:
        bits = 8
    needed = -(-count * bits // 8)
    if len(data) < needed:
        raise UnreadableImage(
            f"{name} is damaged: it ends after {len(data) * 100 // needed}% of its pixels; export"
            " or copy it again."
        )
    if (bits != 1 and bits % 8) or bits in (24, 40, 48, 56):
        return _unpack_samples(data, bits, header)
    return _decode_samples(dataset, header, syntax, bits)


def _decode_samples(dataset: Dataset, header: Header, syntax: UID, bits: int = 0) -> np.ndarray:
    """The samples by pydicom, as unsigned words, of a data set in which nothing is amiss."""
    clean = Dataset()
    clean[header.pixels] = dataset[header.pixels]
    rows, columns, samples, planar = header.rows, header.columns, header.samples, header.planar
    if samples == 4:
        # pydicom knows 1 and 3: four planes, or four times the columns.
        rows, columns, samples = (rows * 4, columns, 1) if planar else (rows, columns * 4, 1)
    clean.Rows, clean.Columns, clean.SamplesPerPixel = rows, columns, samples
    clean.BitsAllocated = clean.BitsStored = bits or header.bits_allocated
    clean.HighBit, clean.PixelRepresentation = clean.BitsAllocated - 1, 0
    clean.PlanarConfiguration = planar
    deep = clean.BitsAllocated > 8
    photometric = "YBR_FULL_422" if header.photometric in _SUBSAMPLED else header.photometric
    space = photometric in ("YBR_FULL", "YBR_FULL_422") and header.samples == 3
    clean.PhotometricInterpretation = (
        photometric if space else "RGB" if samples == 3 else ("MONOCHROME2")
    )
    # pydicom converts colour of 8 bits alone.
    raw = deep or header.photometric in _SUBSAMPLED
    options: dict[str, Any] = {"view_only": True, "allow_excess_frames": False}
    values, _ = get_decoder(syntax).as_array(clean, index=0, raw=raw, **options)
    if header.samples == 4:
        shape = (4, header.rows, header.columns) if planar else (header.rows, header.columns, 4)
        values = values.reshape(shape)
        values = np.moveaxis(values, 0, -1) if planar else values
    if space and raw:
        values = _from_ybr(values, header)
    return values


def _unpack_samples(data: bytes, bits: int, header: Header) -> np.ndarray:
    """Samples that lie one after another without regard to bytes, the least bit first (PS3.5
    8.1.1), as unsigned numbers.
    """
    count = header.rows * header.columns * header.samples
    values = np.empty(count, np.uint16 if bits <= 16 else np.uint64)
    # A multiple of 8 samples begins with a byte.
    for start in range(0, count, 1 << 17):
        many = min(1 << 17, count - start)
        part = np.frombuffer(data, np.uint8, -(-many * bits // 8), start * bits // 8)
        each = np.unpackbits(part, bitorder="little")[: many * bits].reshape(many, bits)
        weights = np.left_shift(np.ones(bits, values.dtype), np.arange(bits, dtype=values.dtype))
        values[start : start + many] = (each * weights).sum(axis=1, dtype=values.dtype)
    if header.samples == 1:
        return values.reshape(header.rows, header.columns)
    if header.planar:
        return np.moveaxis(values.reshape(header.samples, header.rows, header.columns), 0, -1)
    return values.reshape(header.rows, header.columns, header.samples)


def _from_ybr(values: np.ndarray, header: Header) -> np.ndarray:
    """Luma and colour differences to RGB (PS3.3 C.7.6.3.1.2), where pydicom does not."""
    full = float(2**header.bits_stored - 1)
    luma, blue, red = (values[..., index].astype(np.float32) for index in range(3))
    blue, red = blue - (full + 1) / 2, red - (full + 1) / 2
    if header.photometric in _SUBSAMPLED:
        # 16 to 235 and 16 to 240 of 8 bits.
        unit = (full + 1) / 256
        luma = (luma - 16 * unit) * (full / (219 * unit))
        blue, red = (part * (full / (224 * unit)) for part in (blue, red))
    colours = np.stack(
        [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1
    )
    return np.rint(colours).clip(0, full).astype(values.dtype)


def _decompress(dataset: Dataset, header: Header, stream: bytes, name: str) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    kind = dicom_header.uid_name(syntax)
    frame = jpeg2000_frame(stream) if syntax in JPEG2000TransferSyntaxes else jpeg_frame(stream)
    if frame is not None:
        # Before a decoder makes room for what a stream of a hundred bytes claims.
        check_pixels((frame.columns, frame.rows), name)
        if (frame.rows, frame.columns) != (header.rows, header.columns):
            raise UnreadableImage(
                f"{name} says {header.columns}x{header.rows} pixels and holds"
                f" {frame.columns}x{frame.rows}; export it again."
            )
    try:
        with _quiet():
            return _by_codec(dataset, header, stream, frame)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        # Every decoder that is installed has tried.
        raise UnreadableImage(
            f"{name} is compressed as {kind}, and is damaged or of a kind no installed decoder"
            " reads; export it uncompressed."
        ) from None


def _by_codec(dataset: Dataset, header: Header, stream: bytes, frame: Frame | None) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    clean = Dataset()
    clean.PixelData = dataset.PixelData
    clean["PixelData"].is_undefined_length = True
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in dataset:
            clean[keyword] = dataset[keyword]
    allocated, stored = header.bits_allocated, header.bits_stored
    if frame is not None and syntax in JPEGTransferSyntaxes:
        # The container is that of the stream, whatever the header says.
        allocated = 8 if frame.precision <= 8 else 16
        stored = min(stored, frame.precision)
    clean.Rows, clean.Columns, clean.SamplesPerPixel = header.rows, header.columns, header.samples
    clean.BitsAllocated, clean.BitsStored, clean.HighBit = allocated, stored, stored - 1
    # JPEG and JPEG-LS know no sign; the bits are given theirs later.
    clean.PixelRepresentation = int(header.signed and syntax in JPEG2000TransferSyntaxes)
    clean.PlanarConfiguration = header.planar
    clean.PhotometricInterpretation = (
        "YBR_FULL_422"
        if header.photometric in _SUBSAMPLED
        else header.photometric
        if header.samples in (1, 3)
        else "RGB"
    )
    decoder = get_decoder(syntax)
    if decoder.is_available:
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            options: dict[str, Any] = {"correct_unused_bits": False}
            values, _ = decoder.as_array(clean, index=0, **options)
            return values
    if frame is None:
        raise ValueError("no stream of a kind that is known")
    values = decode_stream(stream, frame)
    if values.shape[:2] != (header.rows, header.columns):
        raise ValueError(f"{values.shape} in place of {header.rows}x{header.columns}")
    return values


def _check_rle(stream: bytes, header: Header, name: str) -> int:
    """The bits of a sample by the segments of a run-length stream; raises UnreadableImage where one
    unpacks to more than the header says.
    """
    needed = header.rows * header.columns
    offsets = np.frombuffer(stream[:64].ljust(64, b"\0"), "<u4").tolist()
    number = offsets[0]
    if number not in (header.samples * size for size in (1, 2, 4)) or number > 15:
        raise UnreadableImage(
            f"{name} is damaged: it has {number} run-length segments for {header.samples} samples a"
            " pixel; export it again."
        )
    ends = [*offsets[2 : number + 1], len(stream)]
    for start, end in zip(offsets[1 : number + 1], ends, strict=True):
        segment, position, size = stream[start:end], 0, 0
        # At most 128 bytes of 2.
        if len(segment) * 64 <= 2 * needed:
            continue
        while position < len(segment):
            run = segment[position]
            position += 2 if run > 128 else run + 2 if run < 128 else 1
            size += 257 - run if run > 128 else run + 1 if run < 128 else 0
            # A segment is padded to an even length, by some with a run of its own.
            if size > needed + 128:
                raise UnreadableImage(
                    f"{name} is damaged: it unpacks to more than its"
                    f" {header.columns}x{header.rows} pixels; export it again."
                )
    return 8 * number // header.samples


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what decoders of other languages have to say from the terminal; one at a time."""
    with _STDERR:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:
            # No stderr, nothing to keep from it.
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


# --- from stored values to grey


def _from_grey(header: Header, words: np.ndarray, name: str) -> tuple[np.ndarray, bool]:
    """Grey pixels, and whether they were stretched from a sliver of 8 bits."""
    number = _numbers(header, words)
    if words.dtype.kind == "f" or words.dtype.itemsize > 2:
        flat = words.reshape(-1)
        shades, narrow = _shades(header, flat, number(flat), None, name)
        return shades.reshape(words.shape), narrow
    # Of 16 bits or fewer, each value is worked out once.
    unsigned = (
        words.view(f"u{words.dtype.itemsize}")
        if words.dtype.isnative
        else words.astype(f"u{words.dtype.itemsize}")
    )
    counts = np.zeros(256**words.dtype.itemsize, np.intp)
    for rows in slices(unsigned):
        counts += np.bincount(unsigned[rows].ravel(), minlength=counts.size)
    present = np.flatnonzero(counts)
    levels = present.astype(unsigned.dtype).view(words.dtype.newbyteorder("="))
    shades, narrow = _shades(header, levels, number(levels), counts[present], name)
    table = np.zeros(counts.size, np.uint8)
    table[present] = shades
    grey = np.empty(words.shape, np.uint8)
    for rows in slices(unsigned):
        grey[rows] = table[unsigned[rows]]
    return grey, narrow


def _numbers(header: Header, words: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """How words become the numbers that were meant: the bits that are stored (PS3.5 8.1.1), moved
    down from where they lie, with their sign.
    """
    if words.dtype.kind != "u":
        # Floats, and what a decoder gave a sign already.
        return lambda part: part
    bits, stored = 8 * words.dtype.itemsize, min(header.bits_stored, 8 * words.dtype.itemsize)
    signed = f"i{words.dtype.itemsize}"

    def whole(part: np.ndarray) -> np.ndarray:
        return part.astype(signed) if header.signed else part

    def cut_out(shift: int) -> Callable[[np.ndarray], np.ndarray]:
        up = bits - stored

        def number(part: np.ndarray) -> np.ndarray:
            moved = (part >> shift) << up
            return (moved.astype(signed) if header.signed else moved) >> up

        return number

    if stored == bits:
        return whole
    sample = words[:: max(1, len(words) // 256)]
    shift = header.high_bit + 1 - stored
    # Some say that the bits lie high up where they do not: nothing is up there, or nothing but
    # copies of the sign.
    if shift and not np.array_equal(cut_out(0)(sample), whole(sample)):
        return cut_out(shift)
    if not shift and int(words.max()) < 1 << stored:
        return cut_out(0)
    # Others say fewer bits than their values have. An overlay in the bits above leaves jumps
    # where it is not taken off; values that were cut short leave jumps where they are.
    wide, cut = (
        np.abs(np.diff(part.astype(np.float64), axis=1)).sum()
        for part in (whole(sample), cut_out(0)(sample))
    )
    return whole if wide < cut else cut_out(0)


def _shades(
    header: Header, words: np.ndarray, numbers: np.ndarray, counts: np.ndarray | None, name: str
) -> tuple[np.ndarray, bool]:
    """The grey of each value, and whether it was stretched from a sliver of 8 bits."""
    padding = _is_padding(header, words) | _is_padding(header, numbers)
    mapped: np.ndarray = numbers
    if header.modality is not None:
        mapped = header.modality.look_up(numbers)
    elif header.rescale not in (None, (1.0, 0.0)):
        mapped = numbers.astype(np.float64) * header.rescale[0]
        mapped += header.rescale[1]
    kept = np.ones(len(words), np.intp) if counts is None else counts
    kept = np.where(padding, 0, kept)
    grey, narrow = _apply_window(header, mapped, kept), False
    if (
        grey is None
        and header.bits_stored == 8
        and mapped.dtype.kind == "u"
        and mapped.max(initial=0) < 256
    ):
        grey, narrow = widen_range(mapped.astype(np.uint8), kept)
    elif grey is None:
        # Padding lies far outside the range of what was measured, and is not to flatten it.
        measured = mapped[~padding] if not padding.all() else np.zeros(1)
        clipped = np.clip(mapped, measured.min(), measured.max())
        clipped[padding] = measured.min()
        grey = stretch(clipped, name, None if counts is None else kept)
    if header.photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.where(padding, 0, grey).astype(np.uint8), narrow


def _is_padding(header: Header, values: np.ndarray) -> np.ndarray:
    """Which values are padding: as floats, or as words of so many bits, whatever sign the header
    gives them.
    """
    found = np.zeros(values.shape, bool)
    size = 1 << header.bits_allocated
    for start, end in header.padding:
        if values.dtype.kind == "f":
            found |= (values >= min(start, end)) & (values <= max(start, end))
            continue
        # Words go round: -1 to 0 are the last and the first. Of both ways the shorter is meant.
        first, last = int(start) % size, int(end) % size
        if (last - first) % size > (first - last) % size:
            first, last = last, first
        words = values.astype(np.int64)
        found |= (words - first) % size <= (last - first) % size
    return found


def _apply_window(header: Header, values: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """Grey by the first VOI LUT, else by the first window, that shows something of the pixels; None
    where there is none.
    """
    for table in header.tables:
        grey = table.look_up(values) * (255 / table.full)
        if _shows(grey, counts):
            return np.rint(grey).astype(np.uint8)
    for window in header.windows:
        grey = _through(window, values)
        if _shows(grey, counts):
            return np.rint(grey).astype(np.uint8)
    return None


def _shows(grey: np.ndarray, counts: np.ndarray) -> bool:
    if np.ptp(grey) == 0:
        return False
    total = max(1, counts.sum())
    ends = (counts[grey <= 0].sum(), counts[grey >= 255].sum())
    return max(ends) < _NOTHING * total and narrow_range(grey, 0, 255, counts) is None


def _through(window: Window, values: np.ndarray) -> np.ndarray:
    """Values through a window, 0 to 255, float64."""
    as_8_bits = Dataset()
    as_8_bits.PhotometricInterpretation = "MONOCHROME2"
    as_8_bits.BitsStored, as_8_bits.PixelRepresentation = 8, 0
    as_8_bits.WindowCenter, as_8_bits.WindowWidth = window.centre, window.width
    as_8_bits.VOILUTFunction = window.function
    return apply_windowing(values, as_8_bits)


# --- colour


def _from_colour(
    dataset: Dataset, header: Header, values: np.ndarray, name: str
) -> tuple[np.ndarray, float, bool]:
    if header.photometric == "PALETTE COLOR":
        eight = _from_palette(dataset, header, values, name)
    else:
        bits = 8 * values.dtype.itemsize
        if (
            bits > 8
            and header.bits_stored < bits
            and dataset.file_meta.TransferSyntaxUID
            not in (
                *JPEG2000TransferSyntaxes,
                *JPEGLSTransferSyntaxes,
            )
        ):
            values = _numbers(header, values)(values)
        if header.photometric == "ARGB":
            values = np.roll(values, -1, axis=-1)[..., :3]
        if header.photometric == "CMYK":
            top = 2**header.bits_stored - 1
            values = values.astype(np.uint32)
            values = ((top - values[..., :3]) * (top - values[..., 3:]) // top).astype(np.uint16)
        if header.bits_stored > 8:
            return *from_deep(values, name), False
        eight = values
        if values.dtype != np.uint8:
            scale = 255 / (2**header.bits_stored - 1)
            eight = np.rint(values.astype(np.float64) * scale).clip(0, 255).astype(np.uint8)
    mode = "HSV" if header.photometric == "HSV" else None
    image = Image.fromarray(np.ascontiguousarray(eight[..., :3]))
    if mode is not None:
        image = Image.frombytes(mode, image.size, image.tobytes()).convert("RGB")
    grey, facts = from_image(image, name)
    return grey, facts.coloured, facts.narrow


def _from_palette(dataset: Dataset, header: Header, values: np.ndarray, name: str) -> np.ndarray:
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    try:
        colours = apply_color_lut(_numbers(header, values)(values), dataset)
        said = int(dataset.RedPaletteColorLookupTableDescriptor[2])
    except MemoryError:
        raise
    except Exception:
        raise UnreadableImage(
            f"{name} takes its colours from a palette that is missing or damaged; export it again,"
            " or as PNG."
        ) from None
    if colours.dtype == np.uint8:
        return colours
    # A palette of 8 bits may be stored in 16, and one of 16 may use fewer; its entries tell.
    largest = int(colours.max())
    bits = 8 if largest < 256 else max(9, largest.bit_length())
    bits = max(bits, min(said, 8))
    scale = 255 / (2**bits - 1)
    return np.rint(colours.astype(np.float64) * scale).clip(0, 255).astype(np.uint8)


# --- what it says of itself


def _facts(dataset: Dataset, header: Header, coloured: float, narrow: bool) -> Facts:
    view = dicom_header.code_of(dataset, "ViewPosition")
    if view is None:
        for item in dicom_header.items_of(dataset, "ViewCodeSequence")[:1]:
            meaning = dicom_header.text_of(item, "CodeMeaning").lower()
            if "lateral" in meaning and "antero" not in meaning and "postero" not in meaning:
                view = "LATERAL"
    facts: dict[str, Any] = {"coloured": coloured, "narrow": narrow, "view": view}
    return Facts(
        format="DICOM",
        mode=header.photometric,
        modality=dicom_header.code_of(dataset, "Modality"),
        body_part=dicom_header.code_of(dataset, "BodyPartExamined"),
        **facts,
    )
