"""What a DICOM file says of its picture, read so that one bad element does not cost the rest: an
element that is empty, malformed or missing is as good as absent, and what the picture cannot be
shown without is named.

Elements are read from their stored bytes, never by way of pydicom's values, which one decimal
comma makes unreadable. Names, numbers, dates and free text of a patient are skipped in the stream.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from pneumonia.pixels import MAX_PIXELS, UnreadableImage, shorten_name

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PALETTE = [
    f"{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
] + [f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
# What changes grey values may stand in the functional groups of an enhanced object, too.
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_IN_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_TAGS = [
    *("SOPClassUID", "Modality", "BodyPartExamined", "ViewPosition", "ViewCodeSequence"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
    *("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *_PALETTE,
    *_GROUPS,
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", *PIXELS),
]
_STRUCT = {
    **{"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"},
    **{"OW": "u2", "UV": "u8", "SV": "i8", "OL": "u4", "OF": "f4", "OD": "f8"},
}
_TEXT = ("DS", "IS", "CS", "LO", "SH", "UI", "ST", "LT", "UT", "UC")
# The largest data set that is inflated: MAX_PIXELS of 16 bits and a megabyte of elements.
MAX_INFLATED = 2 * MAX_PIXELS + 1_000_000
# A code string: DICOM PS3.5 allows these characters and 16 of them. Anything else in such a field
# is not what it should be, and is dropped.
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_KNOWN_VR = set(_STRUCT) | set(_TEXT) | {"AE", "AS", "AT", "DA", "DT", "OB", "PN", "SQ", "TM", "UN"}


@dataclass(frozen=True)
class Table:
    """A modality or VOI lookup table (PS3.3 C.11.1.1 and C.11.2.1.1).

    Attributes:
        entries: what each value becomes, unsigned.
        first: the value of the first entry, as stored: one of 16 bits that may be meant signed.
        full: the entry that is full brightness: of as many bits as the entries use, since some
            files say more; the largest where they use more than is said.
    """

    entries: np.ndarray
    first: int
    full: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """The entries of ``values``, float64; below and above the table, its ends."""
        first = self.first
        if first >= 1 << 15 and values.size:
            # Signed or not is not always said: as it is, or where more of the values are.
            low, high, reach = float(values.min()), float(values.max()), len(self.entries) - 1
            overlap = [
                min(high, start + reach) - max(low, start) for start in (first, first - (1 << 16))
            ]
            first -= 0 if overlap[0] >= overlap[1] else 1 << 16
        index = np.clip(np.rint(values) - first, 0, len(self.entries) - 1)
        return self.entries[index.astype(np.intp)].astype(np.float64)


@dataclass(frozen=True)
class Window:
    """The part of the values that is spread from black to white (PS3.3 C.11.2.1.2)."""

    centre: float
    width: float
    function: str


@dataclass(frozen=True)
class Header:
    """What decides how a picture's stored values are shown."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    frames: int
    pixels: str
    padding: tuple[tuple[float, float], ...]
    rescale: tuple[float, float] | None
    modality: Table | None
    tables: tuple[Table, ...]
    windows: tuple[Window, ...]


# --- the file


def parse(content: bytes, name: str) -> Dataset:
    """The elements of a file that concern its picture, with a transfer syntax, said or found out.

    Raises:
        UnreadableImage: a deflated file unpacks to more than MAX_INFLATED.
    """
    if content[:4] == b"DICM":
        content = bytes(128) + content
    meta, start = _meta(content)
    syntax = text_of(meta, "TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset = pydicom.dcmread(
            io.BytesIO(_inflate(content[start:], name)), force=True, specific_tags=_TAGS
        )
    else:
        dataset = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=_TAGS)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = _syntax(dataset, syntax)
    return dataset


def _meta(content: bytes) -> tuple[Dataset, int]:
    """The file meta information and where it ends; nothing where there is none."""
    start = 132 if content[128:132] == b"DICM" else 0
    stream = io.BytesIO(content)
    stream.seek(start)
    if content[start : start + 2] != b"\2\0":
        return Dataset(), start
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    return meta, stream.tell()


def _inflate(deflated: bytes, name: str) -> bytes:
    # pydicom inflates all of it at once, and a kilobyte can hold gigabytes. The standard has no
    # zlib header there; some writers do.
    for bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        inflater, parts, rest, size = zlib.decompressobj(bits), [], deflated, 0
        try:
            while rest and not inflater.eof:
                parts.append(inflater.decompress(rest, 1 << 20))
                rest = inflater.unconsumed_tail
                size += len(parts[-1])
                if size > MAX_INFLATED:
                    raise UnreadableImage(
                        f"{name} unpacks to more than {MAX_INFLATED // 1_000_000} megabytes; export"
                        " it uncompressed and smaller."
                    )
        except zlib.error:
            continue
        return b"".join(parts)
    raise UnreadableImage(f"{name} is damaged: it cannot be unpacked; export or copy it again.")


def _syntax(dataset: Dataset, said: str) -> UID:
    """The transfer syntax: as said where it is one for pixels, else as the pixels look."""
    implicit, little = dataset.original_encoding
    native = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    native = ImplicitVRLittleEndian if implicit else native
    known = UID(said)
    if said == DeflatedExplicitVRLittleEndian:
        return ExplicitVRLittleEndian
    stored = dataset.get_item("PixelData") if "PixelData" in dataset else None
    data = stored.value if stored is not None and isinstance(stored.value, bytes) else b""
    # Fragments begin with an item: the table of offsets.
    fragmented = data[:4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
    if said and known.is_transfer_syntax and known.is_compressed == fragmented:
        return known if known.is_compressed else native
    if not fragmented:
        # An encoding that nobody knows may still hold plain pixels.
        return known if said and known.is_transfer_syntax and known.is_compressed else native
    if known.is_transfer_syntax and known not in _PLAIN:
        return known
    return _looks_like(data, known)


_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def _looks_like(data: bytes, said: UID) -> UID:
    if b"\xff\x4f\xff\x51" in data[:4096]:
        return JPEG2000
    start = data.find(b"\xff\xd8\xff", 0, 4096)
    if start < 0:
        return said
    head = data[start : start + 4096]
    for mark, syntax in (
        (b"\xff\xf7", JPEGLSLossless),
        (b"\xff\xc3", JPEGLosslessSV1),
        (b"\xff\xc1", JPEGExtended12Bit),
    ):
        if mark in head:
            return syntax
    return JPEGBaseline8Bit


def is_dicom(content: bytes) -> bool:
    """Whether bytes are a DICOM file by what they hold: the mark after the preamble or, without a
    preamble, elements that follow each other as only DICOM's do.

    Files from before 1996, and some exports, have no preamble; explicit or implicit, of either byte
    order, they begin with elements of small groups in rising order.
    """
    if content[128:132] == b"DICM" or content[:4] == b"DICM":
        return True
    return any(
        _walks(content, order, explicit)
        for order in ("little", "big")
        for explicit in (True, False)
    )


def _walks(content: bytes, order: Any, explicit: bool) -> bool:
    position, last, steps = 0, -1, 0
    while steps < 4 and position + 8 <= len(content):
        group = int.from_bytes(content[position : position + 2], order)
        tag = group << 16 | int.from_bytes(content[position + 2 : position + 4], order)
        if tag <= last or group % 2 or (steps == 0 and group not in (2, 4, 8, 0x10)):
            return False
        kind, position = content[position + 4 : position + 6], position + 4
        if explicit:
            vr = kind.decode("latin-1")
            if vr not in _KNOWN_VR:
                return False
            if vr in ("OB", "OW", "SQ", "UN", "UT", "OF", "OD", "OL", "UC", "UV", "SV"):
                length = int.from_bytes(content[position + 4 : position + 8], order)
                position += 8
            else:
                length = int.from_bytes(content[position + 2 : position + 4], order)
                position += 4
        else:
            length = int.from_bytes(content[position : position + 4], order)
            position += 4
        if length == 0xFFFFFFFF:
            return steps > 0
        if position + length > len(content):
            return False
        position, last, steps = position + length, tag, steps + 1
    return steps >= 2


# --- elements


def _read_element(dataset: Dataset, keyword: str) -> tuple[Any, str, bool] | None:
    """An element's stored value (bytes where it is still as stored), VR and byte order (whether
    little); None where there is none.
    """
    tag = tag_for_keyword(keyword)
    try:
        element = dataset.get_item(tag) if tag is not None and tag in dataset else None
        if element is None:
            return None
        if isinstance(element, RawDataElement):
            vr = element.VR
            if vr is None or vr == "UN" or vr not in _KNOWN_VR:
                vr = dictionary_VR(tag)
            return element.value, str(vr), bool(element.is_little_endian)
        return element.value, str(element.VR), True
    # What is not even an element is as good as absent.
    except Exception:
        return None


def text_of(dataset: Dataset, keyword: str) -> str:
    """An element's text, its first 256 characters; empty where there is none."""
    found = _read_element(dataset, keyword)
    value = "" if found is None or found[0] is None else found[0]
    if isinstance(value, bytes):
        value = value[:256].decode("latin-1")
    return str(value)[:256].strip(" \0")


def numbers_of(dataset: Dataset, keyword: str) -> list[float | None]:
    """An element's numbers, whatever VR they are stored as; None for each that is none. A decimal
    comma is read as a point.
    """
    found = _read_element(dataset, keyword)
    if found is None or found[0] is None or found[1] == "SQ":
        return []
    value, vr, little = found
    if isinstance(value, bytes):
        if vr in _TEXT:
            value = value[:4096].decode("latin-1").split("\\")
        else:
            kind = np.dtype(_STRUCT.get(vr[:2], "u2")).newbyteorder("<" if little else ">")
            whole = len(value) // kind.itemsize * kind.itemsize
            value = np.frombuffer(value[: min(whole, 4096)], kind).tolist()
    elif isinstance(value, str) or not hasattr(value, "__iter__"):
        value = [value]
    return [_number(one) for one in value]


def _number(value: Any) -> float | None:
    try:
        number = float(str(value).strip(" \0").replace(",", "."))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def number_of(dataset: Dataset, keyword: str) -> float | None:
    """An element's first number; None where it has none that can be used."""
    return next(iter(numbers_of(dataset, keyword)), None)


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The first items of a sequence, none where it cannot be read."""
    try:
        return [item for item in dataset[keyword].value[:16] if isinstance(item, Dataset)]
    except Exception:
        return []


def code_of(dataset: Dataset, keyword: str) -> str | None:
    """An element's code in capitals, None where it is none."""
    text = text_of(dataset, keyword).upper()
    return text if _CODE.fullmatch(text) else None


def _places(dataset: Dataset) -> Iterator[Dataset]:
    """Where display elements may stand: the data set itself, then the first frame's functional
    groups, then those of all frames.
    """
    yield dataset
    for keyword in _GROUPS:
        for group in items_of(dataset, keyword)[:1]:
            for inner in _IN_GROUPS:
                yield from items_of(group, inner)[:1]


# --- the header


def read_header(dataset: Dataset, name: str) -> Header:
    """Everything that decides how the picture is shown.

    Raises:
        UnreadableImage: an element is missing that no picture can be shown without.
    """
    rows, columns = (_size(dataset, keyword, name) for keyword in ("Rows", "Columns"))
    photometric = re.sub(r"[^A-Z0-9]+", "_", text_of(dataset, "PhotometricInterpretation").upper())
    samples = int(number_of(dataset, "SamplesPerPixel") or 0)
    # More are no samples but another thing than a number.
    samples = samples if 0 < samples <= 16 else 0
    photometric, samples = _colours(photometric.strip("_"), samples)
    pixels = next(keyword for keyword in PIXELS if keyword in dataset)
    stored = int(number_of(dataset, "BitsStored") or 0)
    allocated = int(number_of(dataset, "BitsAllocated") or 0)
    if not 1 <= allocated <= 64:
        allocated = 1 if stored == 1 else 8 if 1 < stored <= 8 else 32 if stored > 16 else 16
    stored = stored if 1 <= stored <= allocated else allocated
    high = number_of(dataset, "HighBit")
    frames = number_of(dataset, "NumberOfFrames")
    return Header(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        planar=int(number_of(dataset, "PlanarConfiguration") == 1),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=int(high) if high is not None and stored <= high + 1 <= allocated else stored - 1,
        signed=number_of(dataset, "PixelRepresentation") == 1,
        frames=int(frames) if frames is not None and frames >= 1 else 1,
        pixels=pixels,
        padding=_padding(dataset, pixels),
        rescale=next(filter(None, map(_rescale, _places(dataset))), None),
        modality=next(_tables(dataset, "ModalityLUTSequence"), None),
        tables=tuple(_tables(dataset, "VOILUTSequence")),
        windows=tuple(window for place in _places(dataset) for window in _windows(place)),
    )


def _size(dataset: Dataset, keyword: str, name: str) -> int:
    found = number_of(dataset, keyword)
    if found is None or found < 1:
        raise UnreadableImage(
            f"{name} does not say how many {keyword.lower()} its picture has; export it again."
        )
    return int(found)


_COLOUR_SPACES = {
    **{"YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_PARTIAL_422": 3, "YBR_PARTIAL_420": 3},
    **{"YBR_ICT": 3, "YBR_RCT": 3, "RGB": 3, "HSV": 3, "ARGB": 4, "CMYK": 4},
}


def _colours(photometric: str, samples: int) -> tuple[str, int]:
    """Photometric interpretation and samples of a pixel, each by the other where it is missing or
    unheard of.
    """
    if photometric == "PALETTE_COLOR":
        return "PALETTE COLOR", 1
    if photometric in _COLOUR_SPACES and samples in (0, _COLOUR_SPACES[photometric]):
        return photometric, _COLOUR_SPACES[photometric]
    if samples in (3, 4):
        return ("RGB" if samples == 3 else "ARGB"), samples
    inverted = re.fullmatch(r"MONOCHROME_?1", photometric)
    return ("MONOCHROME1" if inverted else "MONOCHROME2"), max(1, samples)


def _padding(dataset: Dataset, pixels: str) -> tuple[tuple[float, float], ...]:
    kind = pixels.removesuffix("PixelData")
    values = [n for n in numbers_of(dataset, f"{kind}PixelPaddingValue") if n is not None]
    limit = number_of(dataset, f"{kind}PixelPaddingRangeLimit")
    if len(values) == 1 and limit is not None:
        return ((values[0], limit),)
    return tuple((value, value) for value in dict.fromkeys(values))


def _rescale(place: Dataset) -> tuple[float, float] | None:
    slope, intercept = (number_of(place, f"Rescale{part}") for part in ("Slope", "Intercept"))
    if slope is None and intercept is None:
        return None
    # A slope of 0 would make all pixels one.
    slope, intercept = slope or 1.0, intercept or 0.0
    return slope, intercept


def _windows(place: Dataset) -> Iterator[Window]:
    function = re.sub(r"[^A-Z]+", "_", text_of(place, "VOILUTFunction").upper())
    function = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    pairs = zip(numbers_of(place, "WindowCenter"), numbers_of(place, "WindowWidth"), strict=False)
    for centre, width in pairs:
        if centre is None or width is None:
            continue
        if width > (1 if function == "LINEAR" else 0):
            yield Window(centre, width, function)


def _tables(dataset: Dataset, keyword: str) -> Iterator[Table]:
    for place in _places(dataset):
        for item in items_of(place, keyword):
            table = _table(item)
            if table is not None:
                yield table


def _table(item: Dataset) -> Table | None:
    """A lookup table as far as it can be used: its entries whole, in bytes or words, to a few; and
    not all the same.
    """
    said = numbers_of(item, "LUTDescriptor")
    found = _read_element(item, "LUTData")
    if len(said) < 3 or None in said[:3] or found is None:
        return None
    count, first, bits = (int(number or 0) for number in said[:3])
    count = (count & 0xFFFF) or 1 << 16
    entries = _entries(found, count, bits)
    if entries is None or not len(entries) or entries.min() == entries.max():
        return None
    largest = int(entries.max())
    return Table(entries, first, max(largest, (1 << min(bits, largest.bit_length())) - 1))


def _entries(found: tuple[Any, str, bool], count: int, bits: int) -> np.ndarray | None:
    data, vr, little = found
    if not isinstance(data, bytes):
        listed = list(data) if hasattr(data, "__iter__") else [data]
        words = np.array([int(one) & 0xFFFF for one in listed])
        # Two entries of 8 bits a word, as OW would have them.
        if bits <= 8 and len(words) <= count / 2 + 1:
            words = np.stack([words & 0xFF, words >> 8], axis=1).ravel()
        return words[:count] if len(words) >= 0.9 * count else None
    as_bytes = bits <= 8 and len(data) < 1.5 * count
    if as_bytes:
        entries = np.frombuffer(data, "u1")
        if not little and vr == "OW":
            entries = entries[: len(entries) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
    else:
        order = "<" if little else ">"
        entries = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")
    entries = entries[:count].astype(np.int64)
    # One or two short are known, and the last entry stands for them; more is another table.
    return entries if len(entries) >= 0.9 * count else None


def uid_name(uid: str) -> str:
    """The name of a UID of the standard; shortened where it is no such."""
    known = UID(uid[:64])
    if known.name != known:
        return known.name
    return shorten_name(str(known)) if re.fullmatch(r"[0-9.]+", known) else "something unheard of"
