"""DICOM: shown as a viewing station shows it, refused in one sentence where it cannot be, and
nothing of the patient kept.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import logging
import sys
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from missing import absent
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from pneumonia import dicom, dicom_header
from pneumonia.radiograph import SUFFIXES, UnreadableImage, header_size, read

HEIGHT, WIDTH = 40, 64
SECRETS = ("DOE^JANE", "MRN-4711", "19700101", "ST ELSEWHERE", "DR WHO")


def chest(
    values: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, bits: int | None = None, **elements
) -> Dataset:
    """A digital X-ray of stored ``values`` with everything in it that must not get out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = (
        DigitalXRayImageStorageForPresentation
    )
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    (
        dataset.PatientName,
        dataset.PatientID,
        dataset.PatientBirthDate,
        dataset.InstitutionName,
        dataset.ReferringPhysicianName,
    ) = SECRETS
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else values.shape[2]
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    stored = (
        values.astype(values.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else values
    )
    dataset["PixelData"] = pydicom.DataElement(
        "PixelData", "OW" if values.dtype.itemsize > 1 else "OB", stored.tobytes()
    )
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write_dicom(dataset: Dataset, **options) -> bytes:
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, **({"enforce_file_format": True} | options))
    return stream.getvalue()


@pytest.fixture
def grey(drawn_radiograph) -> np.ndarray:
    return drawn_radiograph(1, 1, (HEIGHT, WIDTH))


def three(low: int, middle: int, high: int, dtype: str) -> np.ndarray:
    """``middle`` everywhere, ``low`` in the first and ``high`` in the last pixel."""
    values = np.full((HEIGHT, WIDTH), middle, dtype)
    values[0, 0], values[-1, -1] = low, high
    return values


def read_diagonal(dataset: Dataset) -> tuple[int, int, int]:
    pixels = read(write_dicom(dataset)).pixels
    return int(pixels[0, 0]), int(pixels[5, 5]), int(pixels[-1, -1])


# --- from stored values to grey
def test_8_bit_values_are_kept(grey):
    np.testing.assert_array_equal(read(write_dicom(chest(grey))).pixels, grey)


def test_nor_does_a_rescale_by_nothing_or_a_wider_word_change_them(grey):
    """Grey levels from 30 to 156, which would be stretched if they were taken for measurements."""
    levels = (30 + grey.astype(int) // 2).clip(30, 156).astype(np.uint8)
    expected = read(write_dicom(chest(levels))).pixels
    rescaled = chest(levels, RescaleSlope="1", RescaleIntercept="0")
    np.testing.assert_array_equal(read(write_dicom(rescaled)).pixels, expected)
    wider = chest(levels.astype(np.uint16), bits=8)
    np.testing.assert_array_equal(read(write_dicom(wider)).pixels, expected)


def test_padding_about_zero_of_signed_pixels_is_the_padding_alone():
    values = np.linspace(10, 1000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.int16)
    values[:5] = -1
    values[5:8] = 0
    dataset = chest(values, PixelPaddingValue=-1, PixelPaddingRangeLimit=0)
    pixels = read(write_dicom(dataset)).pixels
    assert not pixels[:8].any() and pixels[-1].mean() > 200


def test_without_a_stderr_a_compressed_picture_is_read_all_the_same(grey, monkeypatch):
    dataset = chest(grey, syntax=JPEG2000)
    dataset.PixelData = encapsulate([imagecodecs.jpeg2k_encode(grey, level=0, codecformat="j2k")])
    dataset["PixelData"].VR = "OB"
    content = write_dicom(dataset)
    monkeypatch.setattr(sys, "stderr", None)
    np.testing.assert_array_equal(read(content).pixels, grey)


def test_in_monochrome1_low_is_bright(grey):
    np.testing.assert_array_equal(
        read(write_dicom(chest(grey, PhotometricInterpretation="MONOCHROME1"))).pixels, 255 - grey
    )


def test_without_a_window_deeper_values_are_stretched_from_their_own_range():
    # (2000 - 1000) * 255 / (5000 - 1000) = 63.75, and 255 - 64 the other way round.
    values = three(1000, 2000, 5000, "<u2")
    assert read_diagonal(chest(values)) == (0, 64, 255)
    assert read_diagonal(chest(values, PhotometricInterpretation="MONOCHROME1")) == (255, 191, 0)


@pytest.mark.parametrize(
    ("function", "expected"),
    # LINEAR (PS3.3 C.11.2.1.2.1): ((2048 - 2047.5) / 1999 + .5) * 255 = 127.56; of 1500: 57.66;
    # 3500 is over 2047.5 + 999.5. LINEAR_EXACT: (0 / 2000 + .5) * 255 = 127.5, to the even; of
    # 1500: 57.63. SIGMOID: 255 / 2; of 1500: 255 / (1 + e^(4 * 548 / 2000)) = 63.86; of 3500: 255 /
    # (1 + e^(-4 * 1452 / 2000)) = 241.75
    [("LINEAR", (58, 128, 255)), ("LINEAR_EXACT", (58, 128, 255)), ("SIGMOID", (64, 128, 242))],
)
def test_a_window_by_hand(function, expected):
    assert (
        read_diagonal(
            chest(
                three(1500, 2048, 3500, "<u2"),
                bits=12,
                WindowCenter=2048,
                WindowWidth=2000,
                VOILUTFunction=function,
            )
        )
        == expected
    )


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(function):
    values = np.random.default_rng(0).integers(0, 4096, (HEIGHT, WIDTH)).astype("<u2")
    dataset = chest(values, bits=12, WindowCenter=1800, WindowWidth=1500, VOILUTFunction=function)
    expected = apply_windowing(values, dataset) * 255 / 4095
    assert np.abs(read(write_dicom(dataset)).pixels - expected).max() <= 0.5 + 1e-9


def test_the_rescale_comes_before_the_window():
    # Stored 100, 500, 900 are -1000, -600, -200 after * 1 - 1100, and the window reaches from -1000
    # to -200: halfway between is 127.5.
    dataset = chest(
        three(100, 500, 900, "<u2"),
        RescaleSlope=1,
        RescaleIntercept=-1100,
        WindowCenter=-600,
        WindowWidth=800,
        VOILUTFunction="LINEAR_EXACT",
    )
    assert read_diagonal(dataset) == (0, 128, 255)


def test_of_several_windows_the_first_is_taken():
    assert read_diagonal(
        chest(three(0, 1000, 4000, "<u2"), WindowCenter=[1000, 9], WindowWidth=[1001, 2])
    ) == (0, 128, 255)


@pytest.mark.parametrize(
    ("centre", "width"),
    [(1000, 0), (1000, 1), (1000, -5), (60000, 10)],
    ids=["no width", "1", "negative", "all black"],
)
def test_a_window_that_shows_nothing_is_not_used(centre, width):
    assert read_diagonal(
        chest(three(1000, 2000, 5000, "<u2"), WindowCenter=centre, WindowWidth=width)
    ) == (
        0,
        64,
        255,
    )


def lut(entries: list[int], first: int, bits: int) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTData"] = pydicom.DataElement("LUTData", "US", entries)
    return Sequence([item])


def test_a_voi_lut_is_looked_up_and_goes_before_the_window():
    # 4 entries from stored 10 on: 0, 50, 150, 255 of 255; below and above, its ends.
    dataset = chest(
        three(3, 12, 99, "<u2"),
        VOILUTSequence=lut([0, 50, 150, 255], 10, 8),
        WindowCenter=5,
        WindowWidth=3,
    )
    assert read_diagonal(dataset) == (0, 150, 255)


def test_a_modality_lut_is_looked_up():
    # Stored 0, 1, 2 become 4000, 3000, 1000, which is stretched: (3000 - 1000) * 255 / 3000 = 170.
    assert read_diagonal(
        chest(three(0, 1, 2, "<u2"), ModalityLUTSequence=lut([4000, 3000, 1000], 0, 16))
    ) == (255, 170, 0)


def test_signed_values():
    assert read_diagonal(chest(three(-1000, -500, 1000, "<i2"))) == (0, 64, 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_flatten_the_rest(photometric):
    values = three(1000, 2000, 5000, "<i2")
    values[10] = -30000
    picture = read(
        write_dicom(chest(values, PixelPaddingValue=-30000, PhotometricInterpretation=photometric))
    ).pixels
    assert set(picture[10]) == {0}
    assert picture[5, 5] == (64 if photometric == "MONOCHROME2" else 191)


@pytest.mark.parametrize("bits", [8, 16])
def test_colour_becomes_luma(bits):
    colours = np.zeros((HEIGHT, WIDTH, 3), "u1" if bits == 8 else "<u2")
    colours[..., 0] = 2**bits - 1
    picture = read(write_dicom(chest(colours)))
    # 0.299 * 255
    assert set(picture.pixels.ravel()) == {76}
    assert picture.facts.mode == "RGB"


def test_a_palette_is_looked_up():
    dataset = chest(
        np.full((HEIGHT, WIDTH), 1, np.uint8), PhotometricInterpretation="PALETTE COLOR"
    )
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [2, 0, 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", bytes([10, 200]))
    assert set(read(write_dicom(dataset)).pixels.ravel()) == {200}


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_uncompressed_encoding_gives_the_same(syntax):
    values = np.arange(HEIGHT * WIDTH, dtype="<u2").reshape(HEIGHT, WIDTH)
    content = write_dicom(
        chest(values, syntax=syntax),
        little_endian=syntax != ExplicitVRBigEndian,
        implicit_vr=syntax == ImplicitVRLittleEndian,
    )
    np.testing.assert_array_equal(read(content).pixels, np.rint(values * (255 / values.max())))


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_files_without_preamble_and_meta_information(implicit, little, grey):
    dataset = chest(grey, syntax=ExplicitVRLittleEndian if little else ExplicitVRBigEndian)
    del dataset.file_meta
    content = write_dicom(
        dataset, enforce_file_format=False, implicit_vr=implicit, little_endian=little
    )
    assert b"DICM" not in content
    np.testing.assert_array_equal(read(content).pixels, grey)


# --- compressed
def test_rle(grey):
    dataset = chest(grey)
    dataset.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read(write_dicom(dataset)).pixels, grey)


@pytest.mark.parametrize(
    ("syntax", "file_format", "options"),
    [(JPEGBaseline8Bit, "JPEG", {"quality": 100}), (JPEG2000, "JPEG2000", {"no_jp2": True})],
)
def test_jpeg_and_jpeg_2000(syntax, file_format, options, grey):
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, file_format, **options)
    dataset = chest(grey, syntax=syntax)
    dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate([stream.getvalue()]))
    dataset["PixelData"].is_undefined_length = True
    assert np.abs(read(write_dicom(dataset)).pixels.astype(int) - grey).max() <= 2


def decoder(of: str):
    """The optional decoder gdcm."""
    if importlib.util.find_spec("gdcm") is None:
        absent(f"{of} needs a decoder that is optional: pip install python-gdcm")
    return importlib.import_module("gdcm")


@pytest.mark.parametrize(
    "compressed", ["MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm", "MR_small_RLE.dcm"]
)
def test_lossless_files_of_pydicom_are_their_uncompressed_twin(compressed):
    if "jpeg_ls" in compressed:
        decoder("JPEG-LS")
    original, other = (
        read(get_testdata_file(name, download=False)) for name in ("MR_small.dcm", compressed)
    )
    np.testing.assert_array_equal(other.pixels, original.pixels)
    assert original.pixels.std() > 10


def test_lossless_jpeg_the_usual_form_of_digital_x_rays(tmp_path):
    gdcm = decoder("lossless JPEG")
    values = np.random.default_rng(2).integers(0, 4096, (HEIGHT, WIDTH)).astype("<u2")
    (tmp_path / "plain.dcm").write_bytes(write_dicom(chest(values, bits=12)))
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(tmp_path / "small.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "small.dcm").file_meta.TransferSyntaxUID.name.startswith(
        "JPEG Lossless"
    )
    np.testing.assert_array_equal(
        read(tmp_path / "small.dcm").pixels, read(tmp_path / "plain.dcm").pixels
    )


def encapsulate_nonsense(syntax: str, grey: np.ndarray) -> bytes:
    dataset = chest(grey, syntax=syntax)
    dataset["PixelData"] = pydicom.DataElement(
        "PixelData", "OB", encapsulate([b"not what it should be"])
    )
    dataset["PixelData"].is_undefined_length = True
    return write_dicom(dataset)


def test_a_stream_that_pydicoms_decoders_do_not_know_goes_to_imagecodecs(grey):
    stream = imagecodecs.jpeg2k_encode(grey, codecformat="j2k", level=0)
    dataset = chest(grey, syntax=HTJ2KLossless)
    dataset["PixelData"] = pydicom.DataElement("PixelData", "OB", encapsulate([stream]))
    dataset["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(read(write_dicom(dataset)).pixels, grey)


def test_a_video_is_named(grey):
    with pytest.raises(
        UnreadableImage, match=r"compressed as MPEG2.*cannot be read here; export it"
    ):
        read(encapsulate_nonsense(MPEG2MPML, grey))


def test_a_stream_no_decoder_can_read_is_damaged(grey):
    with pytest.raises(UnreadableImage, match="damaged"):
        read(encapsulate_nonsense(JPEGBaseline8Bit, grey))


# --- what is refused
def test_several_frames_are_refused(grey):
    with pytest.raises(UnreadableImage, match="holds 2 frames, and one X-ray is expected"):
        read(write_dicom(chest(grey, NumberOfFrames=2, PixelData=np.stack([grey, grey]).tobytes())))
    np.testing.assert_array_equal(read(write_dicom(chest(grey, NumberOfFrames=1))).pixels, grey)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("rtplan.dcm", "RT Plan Storage"),
        ("waveform_ecg.dcm", "Waveform"),
        ("test-SR.dcm", "SR Storage"),
    ],
)
def test_a_dicom_without_a_picture_is_named(file, kind):
    with pytest.raises(
        UnreadableImage, match=rf"{file} is a DICOM file without a picture .*{kind}"
    ):
        read(get_testdata_file(file, download=False))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_damaged(share):
    content = write_dicom(chest(np.arange(HEIGHT * WIDTH, dtype="<u2").reshape(HEIGHT, WIDTH)))
    with pytest.raises(
        UnreadableImage, match=r"upload is (damaged|a DICOM file without a picture)"
    ):
        read(content[: int(len(content) * share)])


def test_garbage_behind_the_mark_is_damaged_or_without_a_picture():
    with pytest.raises(
        UnreadableImage, match=r"upload is (damaged|a DICOM file without a picture)"
    ):
        read(bytes(128) + b"DICM" + bytes(range(256)) * 4)


def test_too_many_pixels_are_refused_before_they_are_decoded(grey, monkeypatch):
    monkeypatch.setattr(
        dicom,
        "_samples",
        lambda *_, **__: pytest.fail("a pixel was decoded before the size was checked"),
    )
    with pytest.raises(UnreadableImage, match="too many pixels"):
        read(write_dicom(chest(grey, Rows=30000, Columns=30000)))


def test_a_deflated_bomb_is_not_inflated(grey, monkeypatch):
    monkeypatch.setattr(dicom_header, "MAX_INFLATED", 1_000_000)
    dataset = chest(grey, syntax=DeflatedExplicitVRLittleEndian)
    head = write_dicom(dataset)
    start = 144 + int.from_bytes(head[140:144], "little")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(20_000_000)) + deflater.flush()
    assert len(bomb) < 30_000
    monkeypatch.setattr(
        pydicom, "dcmread", lambda *_, **__: pytest.fail("inflated before the size was checked")
    )
    with pytest.raises(UnreadableImage, match="unpacks to more than"):
        read(head[:start] + bomb)


def test_small_pictures_are_refused():
    with pytest.raises(UnreadableImage, match="too small to read, 20x20"):
        read(write_dicom(chest(np.zeros((20, 20), np.uint8))))


# --- what it is, and what it says of itself
def test_the_suffix_is_not_trusted(grey, tmp_path):
    (tmp_path / "x.jpeg").write_bytes(write_dicom(chest(grey)))
    np.testing.assert_array_equal(read(tmp_path / "x.jpeg").pixels, grey)
    assert header_size(tmp_path / "x.jpeg") == (HEIGHT, WIDTH)
    Image.fromarray(grey).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.dcm")
    picture = read(tmp_path / "x.dcm")
    np.testing.assert_array_equal(picture.pixels, grey)
    assert picture.facts.format == "PNG"


def test_a_preamble_that_poses_as_a_tiff(grey):
    content = write_dicom(chest(grey))
    np.testing.assert_array_equal(read(b"II*\x00" + content[4:]).pixels, grey)


def test_no_picture_format_is_taken_for_dicom(grey):
    for file_format in ("JPEG", "PNG", "TIFF", "BMP", "WEBP"):
        stream = io.BytesIO()
        Image.fromarray(grey).save(stream, file_format)
        assert not dicom.is_dicom(stream.getvalue())
    assert not dicom.is_dicom(b"")
    assert not dicom.is_dicom(b"just some text, no picture at all")


def test_suffixes_for_a_file_dialogue():
    assert {".dcm", ".dicom", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", ".bmp"} == set(
        SUFFIXES
    )


def test_facts_for_the_input_check(grey):
    facts = read(write_dicom(chest(grey))).facts
    assert (facts.format, facts.mode, facts.frames, facts.coloured) == (
        "DICOM",
        "MONOCHROME2",
        1,
        0.0,
    )
    assert (facts.modality, facts.body_part, facts.view) == ("DX", "CHEST", "PA")
    bare = chest(grey)
    del bare.Modality, bare.BodyPartExamined, bare.ViewPosition
    facts = read(write_dicom(bare)).facts
    assert (facts.modality, facts.body_part, facts.view) == (None, None, None)


@pytest.mark.parametrize(
    ("meaning", "view"),
    [
        ("left lateral", "LATERAL"),
        ("Lateral", "LATERAL"),
        ("postero-anterior", None),
        ("antero-posterior", None),
    ],
)
def test_a_lateral_view_by_its_code(meaning, view, grey):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399067008", "SCT", meaning
    dataset = chest(grey, ViewCodeSequence=Sequence([code]))
    del dataset.ViewPosition
    assert read(write_dicom(dataset)).facts.view == view


def test_nothing_of_the_patient_leaves_the_reader(grey, caplog, recwarn):
    dataset = chest(grey)
    # A careless export: a name where a code belongs.
    dataset["BodyPartExamined"] = pydicom.DataElement(
        "BodyPartExamined", "CS", "Doe^Jane, chest", validation_mode=pydicom.config.IGNORE
    )
    with caplog.at_level(logging.DEBUG):
        picture = read(write_dicom(dataset))
    told = " ".join(
        [
            str(dataclasses.asdict(picture.facts)),
            picture.name,
            caplog.text,
            *(str(warning.message) for warning in recwarn),
        ]
    ).upper()
    for secret in (*SECRETS, "DOE"):
        assert secret not in told
    assert picture.facts.body_part is None


def test_what_is_not_needed_is_not_even_parsed(grey):
    parsed = dicom_header.parse(write_dicom(chest(grey)), "x")
    assert "Rows" in parsed
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "InstitutionName",
        "ReferringPhysicianName",
    ):
        assert keyword not in parsed
