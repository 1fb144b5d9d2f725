"""DICOM to grey pixels: rescaled, windowed and turned the right way round as a viewing station
would show them, with nothing of the patient kept.

Only the elements named here are parsed at all; names, numbers, dates and free text of a patient are
skipped in the stream and never become values.
"""

from __future__ import annotations

import io
import re
import warnings
import zlib
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, get_decoder, pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from pneumonia.pixels import (
    MAX_PIXELS,
    Facts,
    UnreadableImage,
    check_pixels,
    explained,
    from_image,
    stretch,
)

SUFFIXES = (".dcm", ".dicom")

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_TAGS = [
    *("SOPClassUID", "Modality", "BodyPartExamined", "ViewPosition", "ViewCodeSequence"),
    *(
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
    ),
    *(
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
    ),
    *(
        "RescaleSlope",
        "RescaleIntercept",
        "ModalityLUTSequence",
        "VOILUTSequence",
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
    ),
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", *_PIXELS),
]
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
# A code string: DICOM PS3.5 allows these characters and 16 of them. Anything else in such a field
# is not what it should be, and is dropped.
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
# The largest data set that is inflated: MAX_PIXELS of 16 bits and a megabyte of elements.
_MAX_INFLATED = 2 * MAX_PIXELS + 1_000_000


def is_dicom(content: bytes) -> bool:
    """Whether bytes are a DICOM file by what they hold: the mark after the preamble or, without a
    preamble, a first element that only DICOM begins with.

    Files from before 1996, and some exports, have no preamble; their first element then is of group
    2 or 8, explicit or implicit, of either byte order.
    """
    if content[128:132] == b"DICM":
        return True
    if content[:2] in (b"\x02\x00", b"\x08\x00"):
        length = int.from_bytes(content[4:8], "little")
        return content[3:4] == b"\x00" and (
            content[4:6] in (b"UL", b"OB", b"UI", b"CS", b"SH", b"DA", b"TM", b"LO")
            or 0 < length < 128
        )
    return content[:3] in (b"\x00\x02\x00", b"\x00\x08\x00") and content[4:6] in (
        b"UL",
        b"OB",
        b"UI",
        b"CS",
        b"SH",
        b"DA",
        b"TM",
        b"LO",
    )


def decode(content: bytes, name: str) -> tuple[np.ndarray, Facts]:
    """The picture of a DICOM file, uint8 ``(H, W)``, as it is meant to be seen, and what it says of
    itself.

    Stored values go through the modality LUT or rescale, then the first VOI LUT or window (PS3.3
    C.11.1 and C.11.2). Where there is neither, 8-bit values are kept and deeper ones stretched from
    their own range, padding left out of it. MONOCHROME1, in which low is bright, is inverted;
    colour becomes luma. Overlays are not drawn.

    Raises:
        UnreadableImage: it holds no picture, several of them, a damaged one, one of over 50
            megapixels, or one compressed in a way no installed decoder reads.
    """
    with explained(name), warnings.catch_warnings():
        # pydicom's warnings quote values; they tell a person nothing and belong in no log.
        warnings.simplefilter("ignore")
        dataset = _parsed(content, name)
        _check(dataset, name)
        values = _decompressed(dataset, name)
        if dataset.SamplesPerPixel > 1 or dataset.PhotometricInterpretation == "PALETTE COLOR":
            grey, colour = _from_colour(dataset, values, name)
            return grey, _facts(dataset, colour)
        return _from_grey(dataset, values, name), _facts(dataset, 0.0)


def header_size(content: bytes, name: str) -> tuple[int, int]:
    """Height and width in pixels, without decoding a pixel; raises as :func:`decode` does."""
    with explained(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = _parsed(content, name)
        _check(dataset, name)
        return int(dataset.Rows), int(dataset.Columns)


def _parsed(content: bytes, name: str) -> Dataset:
    if DeflatedExplicitVRLittleEndian.encode() in content:
        # Behind the preamble, its mark and the 12 bytes of the element that says how long the file
        # meta information is, that length in its last four.
        _check_inflated(content[144 + int.from_bytes(content[140:144], "little") :], name)
    dataset = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=_TAGS)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Without file meta information, pydicom has found out byte order and VR by looking.
        implicit, little = dataset.original_encoding
        explicit = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _check_inflated(deflated: bytes, name: str) -> None:
    # pydicom inflates all of it at once, and a kilobyte can hold gigabytes.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size, rest = 0, deflated
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, 1 << 20))
        rest = inflater.unconsumed_tail
        if size > _MAX_INFLATED:
            raise UnreadableImage(
                f"{name} unpacks to more than {_MAX_INFLATED // 1_000_000} megabytes; export it"
                " uncompressed and smaller."
            )


def _check(dataset: Dataset, name: str) -> None:
    if not any(keyword in dataset for keyword in _PIXELS) or "Rows" not in dataset:
        # The name of a SOP class is one of a fixed list, such as "RT Plan Storage".
        known = UID(dataset.get("SOPClassUID", ""))
        kind = f" ({known.name})" if known.name != known else ""
        raise UnreadableImage(
            f"{name} is a DICOM file without a picture{kind}; export the X-ray itself."
        )
    check_pixels((int(dataset.Columns), int(dataset.Rows)), name)
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise UnreadableImage(
            f"{name} is compressed as {syntax.name}, which cannot be read here; export it"
            " uncompressed, or as PNG or JPEG."
        ) from None
    frames = int(dataset.get("NumberOfFrames", None) or 1)
    if frames > 1:
        # Which frame of a cine loop or a volume is the X-ray, if any is, only its sender knows.
        raise UnreadableImage(
            f"{name} holds {frames} frames, and one X-ray is expected; export the one you mean."
        )
    if not available:
        raise UnreadableImage(
            f"{name} is compressed as {syntax.name}, for which no decoder is installed; pip install"
            " python-gdcm, or export it uncompressed."
        )


def _decompressed(dataset: Dataset, name: str) -> np.ndarray:
    try:
        return pixel_array(dataset, index=0)
    except RuntimeError:
        # Every decoder that is installed has tried: 12-bit JPEG, for one, is read by few of those
        # that read 8-bit JPEG.
        kind = dataset.file_meta.TransferSyntaxUID.name
        raise UnreadableImage(
            f"{name} is compressed as {kind}, and is damaged or of a kind no installed decoder"
            " reads; export it uncompressed."
        ) from None


def _from_grey(dataset: Dataset, values: np.ndarray, name: str) -> np.ndarray:
    padding = _padding(dataset, values)
    values = apply_modality_lut(values, dataset)
    windowed = _windowed(dataset, values)
    if windowed is not None and np.ptp(windowed) > 0:
        grey = np.rint(windowed * 255).astype(np.uint8)
    elif values.dtype == np.uint8 and dataset.BitsStored == 8:
        grey = values
    else:
        # Padding lies far outside the range of what was measured, and is not to flatten it.
        measured = values[~padding].astype(np.float64) if not padding.all() else np.zeros(1)
        if not np.isfinite(measured).all():
            raise UnreadableImage(
                f"{name} has pixels that are not finite numbers; export it again."
            )
        grey = stretch(np.clip(values.astype(np.float64), measured.min(), measured.max()), name)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return np.where(padding, 0, grey).astype(np.uint8)


def _padding(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, bool)
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((first, last if isinstance(last, int) else first))
    return (stored >= low) & (stored <= high)


def _windowed(dataset: Dataset, values: np.ndarray) -> np.ndarray | None:
    """Shares of full brightness, 0 to 1, by the first VOI LUT or window; None where there is none
    that can be used.
    """
    if dataset.get("VOILUTSequence"):
        # The bits of each entry, the third number of the descriptor; some files say 8 of entries
        # that have more, which would saturate.
        entries = apply_voi(np.rint(values).astype(np.int64), dataset, index=0).astype(np.float64)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return entries / max(2**bits - 1, entries.max())
    centre, width = (_first(dataset.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR").upper()
    if centre is None or width is None or width <= 0 or (function == "LINEAR" and width <= 1):
        return None
    values = values.astype(np.float64)
    if function == "SIGMOID":
        # Clipped where the answer is 0 or 1 to 17 digits, so that exp() does not overflow.
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -40, 40)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return (
        float(value[0]) if isinstance(value, (list, pydicom.multival.MultiValue)) else float(value)
    )


def _from_colour(dataset: Dataset, values: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    bits = (
        8 * values.dtype.itemsize
        if dataset.PhotometricInterpretation == "PALETTE COLOR"
        else int(dataset.BitsStored)
    )
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        # A palette of 8 bits may be stored in 16; its entries tell.
        bits = (
            8
            if values.max() < 256 and int(dataset.RedPaletteColorLookupTableDescriptor[2]) == 8
            else 8 * values.dtype.itemsize
        )
    eight = (
        values
        if values.dtype == np.uint8
        else np.rint(values.astype(np.float64) * (255 / (2**bits - 1)))
        .clip(0, 255)
        .astype(np.uint8)
    )
    grey, facts = from_image(Image.fromarray(np.ascontiguousarray(eight[..., :3])), name)
    return grey, facts.coloured


def _facts(dataset: Dataset, coloured: float) -> Facts:
    view = _code(dataset.get("ViewPosition"))
    if view is None and dataset.get("ViewCodeSequence"):
        meaning = str(dataset.ViewCodeSequence[0].get("CodeMeaning", "")).lower()
        view = (
            "LATERAL"
            if "lateral" in meaning and "antero" not in meaning and "postero" not in meaning
            else None
        )
    return Facts(
        format="DICOM",
        mode=str(dataset.PhotometricInterpretation),
        coloured=coloured,
        modality=_code(dataset.get("Modality")),
        body_part=_code(dataset.get("BodyPartExamined")),
        view=view,
    )


def _code(value: Any) -> str | None:
    text = str(value).strip().upper() if isinstance(value, str) else ""
    return text if _CODE.fullmatch(text) else None
