"""Decoding: every kind of file, image and array that people have, and every way it can be
broken.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import pixels as grey_pixels
from pneumonia import radiograph
from pneumonia.radiograph import Radiograph, UnreadableImage, header_size, read, resize, to_input

HEIGHT, WIDTH = 40, 64


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def uniform(mode: str, colour) -> Image.Image:
    return Image.new(mode, (WIDTH, HEIGHT), colour)


@pytest.fixture
def grey(drawn_radiograph) -> np.ndarray:
    return drawn_radiograph(1, 1, (HEIGHT, WIDTH))


# --- files
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_a_lossless_8_bit_file_keeps_its_values(grey, file_format, options):
    pixels = read(
        encode(
            Image.fromarray(grey).convert("RGB" if file_format == "WEBP" else "L"),
            file_format,
            **options,
        )
    ).pixels
    np.testing.assert_array_equal(pixels, grey)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_in_grey_and_in_colour_is_the_same_picture(grey, mode, options):
    pixels = read(
        encode(Image.fromarray(grey).convert(mode), "JPEG", quality=100, subsampling=0, **options)
    ).pixels
    assert np.abs(pixels.astype(int) - grey).max() <= 3


def test_cmyk_jpeg_is_not_inverted():
    # Black ink at 100 of 255 leaves 155 of white.
    assert (
        abs(
            int(read(encode(uniform("CMYK", (0, 0, 0, 100)), "JPEG", quality=95)).pixels.mean())
            - 155
        )
        <= 2
    )


@pytest.mark.parametrize(
    ("colour", "luma"),
    [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((255, 255, 255), 255)],
)
def test_colour_becomes_luma(colour, luma):
    assert set(read(encode(uniform("RGB", colour), "PNG")).pixels.ravel()) == {luma}


def test_a_palette_is_looked_up():
    image = uniform("P", 1)
    image.putpalette([10, 10, 10, 200, 200, 200])
    assert set(read(encode(image, "PNG")).pixels.ravel()) == {200}


def test_a_transparent_palette_entry_is_black():
    image = Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8), "P")
    image.putpalette([100, 100, 100, 200, 200, 200])
    pixels = read(encode(image, "PNG", transparency=1)).pixels
    np.testing.assert_array_equal(pixels, np.where(np.eye(HEIGHT, WIDTH), 0, 100))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (255, 255, 255, 128), 128),
        ("RGBA", (90, 90, 90, 255), 90),
        ("RGBA", (255, 255, 255, 0), 0),
        ("LA", (200, 0), 0),
        ("LA", (200, 255), 200),
    ],
)
def test_transparency_is_laid_over_black(mode, colour, expected):
    image = uniform(mode, colour)
    image.paste((90,) * (len(colour) - 1) + (255,), (0, 0, WIDTH, 1))
    pixels = read(encode(image, "PNG")).pixels
    assert set(pixels[0]) == {90}
    assert set(pixels[1:].ravel()) == {expected}


@pytest.mark.parametrize("alpha", [0, 1, 15])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_alpha_that_hides_the_whole_picture_was_never_filled_in(mode, alpha, grey):
    image = Image.fromarray(grey).convert(mode)
    image.putalpha(alpha)
    for file_format in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read(encode(image, file_format)).pixels, grey)


def test_one_bit_is_black_and_white():
    bits = np.zeros((HEIGHT, WIDTH), bool)
    bits[:, WIDTH // 2 :] = True
    np.testing.assert_array_equal(
        read(encode(Image.fromarray(bits), "PNG")).pixels, np.where(bits, 255, 0)
    )


def ramp(low: float, middle: float, high: float, dtype: str) -> np.ndarray:
    values = np.full((HEIGHT, WIDTH), middle, dtype)
    values[0, 0], values[-1, -1] = low, high
    return values


@pytest.mark.parametrize(
    ("file_format", "dtype"),
    [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("TIFF", "<i4"), ("TIFF", "<f4")],
)
def test_more_than_8_bits_are_stretched_from_their_own_range(file_format, dtype):
    pixels = read(encode(Image.fromarray(ramp(1000, 2000, 5000, dtype)), file_format)).pixels
    # (2000 - 1000) * 255 / (5000 - 1000) = 63.75
    assert (pixels[0, 0], pixels[5, 5], pixels[-1, -1]) == (0, 64, 255)


def test_a_float_tiff_may_be_negative():
    pixels = read(encode(Image.fromarray(ramp(-1.0, -0.5, 1.0, "<f4")), "TIFF")).pixels
    assert (pixels[0, 0], pixels[5, 5], pixels[-1, -1]) == (0, 64, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("L", "tiff"), ("L", "webp"), ("I;16", "png"), ("I;16", "tiff")],
)
def test_exif_orientation_is_applied(orientation, mode, suffix, tmp_path):
    # One bright quarter, top left as stored: where it must be seen, by the EXIF standard, is (top
    # or bottom, left or right).
    stored = np.zeros((HEIGHT, WIDTH), np.uint8)
    stored[: HEIGHT // 2, : WIDTH // 2] = 255
    image = Image.fromarray(stored if mode == "L" else stored.astype(np.uint16) * 256)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"turned.{suffix}"
    image.save(file, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    seen = read(file)
    rows, columns = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}[
        orientation
    ]
    expected = np.zeros((WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH), np.uint8)
    half_rows = (
        slice(None, expected.shape[0] // 2) if rows == "t" else slice(expected.shape[0] // 2, None)
    )
    half_columns = (
        slice(None, expected.shape[1] // 2)
        if columns == "l"
        else slice(expected.shape[1] // 2, None)
    )
    expected[half_rows, half_columns] = 255
    np.testing.assert_array_equal(seen.pixels, expected)
    assert header_size(file) == seen.size


def test_a_file_is_named_by_its_name_and_nothing_of_its_folder(grey, tmp_path):
    (tmp_path / "Jane Doe").mkdir()
    file = tmp_path / "Jane Doe" / "x.png"
    Image.fromarray(grey).save(file)
    assert read(file).name == read(str(file)).name == "x.png"
    file.write_bytes(b"no picture")
    with pytest.raises(UnreadableImage) as caught:
        read(file)
    assert "x.png" in str(caught.value)
    assert "Jane" not in str(caught.value)


def test_path_bytes_image_and_array_give_the_same_pixels(grey, tmp_path):
    file = tmp_path / "x.png"
    Image.fromarray(grey).save(file)
    content = file.read_bytes()
    for source in (
        file,
        str(file),
        content,
        bytearray(content),
        memoryview(content),
        Image.open(file),
        grey,
        read(file),
    ):
        np.testing.assert_array_equal(read(source).pixels, grey)


def test_what_a_file_says_of_itself_is_kept(grey):
    image = Image.fromarray(grey)
    facts = [read(encode(image, file_format)).facts for file_format in radiograph.FORMATS]
    assert [fact.format for fact in facts] == list(radiograph.FORMATS)
    assert {fact.mode for fact in facts if fact.format != "WEBP"} == {"L"}
    assert {
        (fact.frames, fact.coloured, fact.modality, fact.body_part, fact.view) for fact in facts
    } == {(1, 0.0, None, None, None)}
    assert read(grey).facts == read(image).facts == radiograph.Facts()
    assert read(encode(uniform("CMYK", (0, 0, 0, 9)), "JPEG")).facts.mode == "CMYK"
    assert read(np.ones((HEIGHT, WIDTH), np.uint16)).facts.mode == "uint16"
    assert Radiograph(grey, "x").facts == radiograph.Facts()


def test_of_several_pages_the_first_is_read(grey):
    first, second = Image.fromarray(grey), Image.fromarray(255 - grey)
    for file_format, options in (
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
    ):
        content = encode(
            first.convert("RGB"),
            file_format,
            save_all=True,
            append_images=[second.convert("RGB")],
            **options,
        )
        picture = read(content)
        np.testing.assert_array_equal(picture.pixels, grey)
        assert picture.facts.frames == 2


def test_deep_pages_of_a_tiff_keep_their_depth():
    deep = Image.fromarray(ramp(1000, 2000, 5000, "<u2"))
    picture = read(encode(deep, "TIFF", save_all=True, append_images=[deep]))
    assert (picture.pixels[0, 0], picture.pixels[5, 5], picture.pixels[-1, -1]) == (0, 64, 255)
    assert picture.facts.frames == 2


def test_an_adobe_cmyk_jpeg_is_stored_inverted_and_read_upright():
    # Adobe writes 255 - ink and marks the file; no ink is white, whatever the byte in the file.
    content = encode(uniform("CMYK", (0, 0, 0, 0)), "JPEG", quality=100)
    assert b"Adobe" in content
    assert read(content).pixels.min() >= 253


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "YCbCr"])
def test_a_grey_picture_stored_in_colour_is_not_coloured(grey, mode):
    assert read(Image.fromarray(grey).convert("RGB").convert(mode)).facts.coloured == 0


def test_a_film_on_a_blue_base_is_not_coloured(grey):
    tinted = np.stack([grey * 0.7, grey * 0.8, 40 + grey * 0.8], axis=-1).astype(np.uint8)
    assert read(tinted).facts.coloured == 0
    assert read(tinted.astype(np.float64)).facts.coloured == 0


def test_the_share_of_colour_by_hand():
    # Two colours of one luma (76 and 76), one pixel in four is red: its distance from the median of
    # its luma is over the limit, that of the others is 0.
    colours = np.full((HEIGHT, WIDTH, 3), 76, np.uint8)
    colours[: HEIGHT // 2, : WIDTH // 2] = [255, 0, 0]
    assert read(colours).facts.coloured == 0.25
    assert read(Image.fromarray(colours)).facts.coloured == 0.25
    assert read(encode(Image.fromarray(colours), "PNG")).facts.coloured == 0.25
    # A float array is stretched over all its channels at once: 0 to 255 here already.
    assert read(colours.astype(np.float64)).facts.coloured == 0.25


# --- PIL images and arrays
@pytest.mark.parametrize(
    "mode", "1 L P RGB RGBA CMYK YCbCr HSV I F LA PA La RGBa RGBX I;16 I;16B I;16L".split()
)
def test_every_mode_of_pillow_is_read(mode):
    picture = read(Image.new(mode, (WIDTH, HEIGHT)))
    assert picture.size == (HEIGHT, WIDTH)
    assert picture.pixels.dtype == np.uint8


def test_premultiplied_grey_keeps_its_values():
    # Stored 100 at half opacity is 200 at half opacity, laid over black 100 again.
    assert abs(int(read(uniform("LA", (200, 128)).convert("La")).pixels[0, 0]) - 100) <= 1


def test_a_colour_space_without_a_way_to_grey_is_named():
    with pytest.raises(UnreadableImage, match="LAB"):
        read(Image.new("LAB", (WIDTH, HEIGHT)))


@pytest.mark.parametrize(
    "shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 1), (HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4)]
)
def test_uint8_arrays_keep_their_values(grey, shape):
    array = grey if len(shape) == 2 else np.repeat(grey[..., np.newaxis], shape[2], axis=2)
    if shape[-1] == 4:
        array[..., 3] = 255
    np.testing.assert_array_equal(read(array).pixels, grey)


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float32, np.float64])
def test_other_arrays_are_stretched(dtype):
    # 50 / 200 of 255 is 63.75, wherever the range begins.
    low = 100 if dtype is np.uint16 else -100
    pixels = read(ramp(low, low + 50, low + 200, dtype)).pixels
    assert (pixels[0, 0], pixels[5, 5], pixels[-1, -1]) == (0, 64, 255)


def test_truth_values_are_black_and_white():
    bits = np.eye(40, dtype=bool)
    np.testing.assert_array_equal(read(bits).pixels, bits * 255)


def test_a_float_colour_array_uses_the_same_luma_as_a_file():
    colours = np.zeros((HEIGHT, WIDTH, 3))
    colours[0] = [1.0, 1.0, 1.0]
    colours[1] = [1.0, 0.0, 0.0]
    colours[2] = [0.0, 1.0, 0.0]
    assert read(colours).pixels[:4, 0].tolist() == [255, 76, 150, 0]


def test_a_constant_array_is_black_and_not_a_division_by_zero():
    assert not read(np.full((HEIGHT, WIDTH), 3.5)).pixels.any()


def test_any_memory_layout_is_read_and_the_callers_array_is_not_shared(grey):
    np.testing.assert_array_equal(read(grey[:, ::-1]).pixels, grey[:, ::-1])
    np.testing.assert_array_equal(read(np.asfortranarray(grey)).pixels, grey)
    mine = grey.copy()
    picture = read(mine)
    mine[:] = 0
    np.testing.assert_array_equal(picture.pixels, grey)


# --- what cannot be read
def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(b"\0" * (1 + (width + 7) // 8) * min(height, 10))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "upload is empty"),
        (b"just some text, no picture at all", "upload is no picture"),
        (b"\x89PNG\r\n\x1a\n", "upload is"),
        (encode(uniform("L", 9), "GIF"), "upload is a GIF.*export the X-ray as JPEG or PNG"),
        (b"%PDF-1.7 and so on", "upload is a PDF.*save the X-ray in it as JPEG or PNG"),
    ],
    ids=["empty", "text", "only a signature", "gif", "pdf"],
)
def test_bytes_of_no_picture(content, message):
    with pytest.raises(UnreadableImage, match=message):
        read(content)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_a_truncated_file_is_damaged(grey, file_format):
    content = encode(Image.fromarray(grey), file_format)
    with pytest.raises(UnreadableImage, match=r"upload is (damaged|no picture)"):
        read(content[: len(content) * 2 // 3])


def test_a_truncated_file_opened_lazily_by_the_caller_is_damaged_too(grey):
    content = encode(Image.fromarray(grey), "JPEG")
    opened = Image.open(io.BytesIO(content[: len(content) * 2 // 3]))
    with pytest.raises(UnreadableImage, match="image is damaged"):
        read(opened)


# 100 megapixels are over our limit but under Pillow's; 400 are over both.
@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (20_000, 20_000)])
def test_a_bomb_is_refused_by_its_header(width, height, monkeypatch, tmp_path):
    content = png_header(width, height)
    assert len(content) < 2000

    def fail(self):
        pytest.fail("a pixel was decoded before the size was checked")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        read(content)
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"bomb\.png has too many pixels"):
        header_size(tmp_path / "bomb.png")


def test_a_huge_array_is_refused():
    with pytest.raises(UnreadableImage, match="8000x7000"):
        # Broadcast: 56 megapixels in the memory of one.
        read(np.broadcast_to(np.uint8(1), (7000, 8000)))


def test_small_pictures_are_refused_from_31_pixels_down(grey):
    assert read(np.zeros((32, 32), np.uint8)).size == (32, 32)
    with pytest.raises(UnreadableImage, match="too small to read, 500x31"):
        read(np.zeros((31, 500), np.uint8))
    with pytest.raises(UnreadableImage, match="too small"):
        read(encode(Image.new("L", (1, 1)), "PNG"))


@pytest.mark.parametrize("source", [None, 5, 2.5, {"a": 1}, [1, 2], object()])
def test_what_is_no_source_is_named(source):
    with pytest.raises(UnreadableImage, match=f"got {type(source).__name__}"):
        read(source)


@pytest.mark.parametrize(
    "shape",
    [
        (HEIGHT,),
        (HEIGHT, WIDTH, 2),
        (HEIGHT, WIDTH, 5),
        (2, HEIGHT, WIDTH, 3),
        (0, 0),
        (0, 5, 3),
        (),
    ],
)
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(UnreadableImage, match=r"Expected an array \(H, W\)"):
        read(np.zeros(shape, np.uint8))


def test_a_batch_in_one_array_is_told_to_come_as_a_list():
    with pytest.raises(UnreadableImage, match=r"got \(2, 40, 50, 3\)\. For a batch pass a list\."):
        read(np.zeros((2, 40, 50, 3), np.uint8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(bad):
    values = np.zeros((HEIGHT, WIDTH))
    values[3, 3] = bad
    with pytest.raises(UnreadableImage, match="not finite"):
        read(values)
    with pytest.raises(UnreadableImage, match="upload has pixels that are not finite"):
        read(encode(Image.fromarray(values.astype(np.float32)), "TIFF"))


@pytest.mark.parametrize("dtype", [complex, object, "U3", "datetime64[s]"])
def test_arrays_of_no_numbers_are_refused(dtype):
    with pytest.raises(UnreadableImage, match="numbers"):
        read(np.zeros((HEIGHT, WIDTH), dtype))


def test_missing_files_and_folders(tmp_path):
    for function in (read, header_size):
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "nothing.jpeg")
    with pytest.raises(UnreadableImage, match="is a folder"):
        read(tmp_path)


def test_a_radiograph_takes_nothing_but_grey_bytes():
    for pixels in (np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.float32)):
        with pytest.raises(UnreadableImage, match="Expected grey pixels"):
            Radiograph(pixels, "x")


# --- to the size of a network
def draw_texture(height: int, width: int) -> np.ndarray:
    # A chest with ribs: fine stripes are what a resize without antialiasing turns into others.
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    return (120 + 60 * np.sin(9 * x + 4 * y) + 50 * np.sin(2 * np.pi * 170 * x)).astype(np.uint8)


@pytest.mark.parametrize("size", [(100, 100), (128, 128), (224, 224)])
def test_an_original_and_its_published_copy_give_the_same_input(size, tmp_path):
    pixels = draw_texture(1200, 1600)
    # Made as the files of the train folder were: squeezed, then encoded as JPEG of Pillow's usual
    # quality.
    Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR).save(
        tmp_path / "copy.jpeg", quality=75
    )
    np.testing.assert_array_equal(
        resize(Radiograph(pixels, "original"), size), resize(read(tmp_path / "copy.jpeg"), size)
    )
    # The equality means something: the squeezed picture without its encoding is another one.
    bare = (
        Image.fromarray(pixels)
        .resize((224, 224), Image.Resampling.BILINEAR)
        .resize(size, Image.Resampling.BILINEAR)
    )
    assert (
        np.abs(np.asarray(bare).astype(int) - resize(Radiograph(pixels, "original"), size)).max()
        >= 2
    )


@pytest.mark.data
def test_the_train_folder_is_what_originals_are_turned_into(cxr_root):
    for label in ("NORMAL", "PNEUMONIA"):
        with Image.open(sorted((cxr_root / "train" / label).glob("*.jpeg"))[0]) as copy:
            assert copy.size == radiograph.COPY_SIZE
            usual = io.BytesIO()
            Image.new("RGB", copy.size).save(usual, "JPEG", quality=radiograph.COPY_QUALITY)
            with Image.open(usual) as same:
                assert copy.quantization == same.quantization


def test_resize_stretches_and_keeps_the_range():
    left_white = np.zeros((40, 80), np.uint8)
    left_white[:, :40] = 255
    small = resize(Radiograph(left_white, "x"), (60, 50))
    assert small.shape == (60, 50)
    assert small.dtype == np.uint8
    # Half of the width is white before and after, whatever the aspect.
    assert (small[:, :20] >= 250).all()
    assert (small[:, 30:] <= 5).all()


def test_a_picture_of_the_copies_size_is_left_alone():
    pixels = draw_texture(224, 224)
    np.testing.assert_array_equal(resize(Radiograph(pixels, "x"), (224, 224)), pixels)


def test_resize_of_a_constant_is_constant():
    assert set(resize(Radiograph(np.full((300, 200), 77, np.uint8), "x"), (128, 128)).ravel()) == {
        77
    }


def test_to_input_repeats_grey_and_keeps_0_to_255():
    batch = np.stack([np.zeros((4, 5), np.uint8), np.full((4, 5), 255, np.uint8)])
    batch[0, 1, 2] = 7
    inputs = to_input(batch)
    assert inputs.shape == (2, 4, 5, 3)
    assert inputs.dtype == np.float32
    assert inputs[0, 1, 2].tolist() == [7, 7, 7]
    assert (inputs.min(), inputs.max()) == (0, 255)


def test_header_size_tells_what_read_gives(grey, tmp_path):
    file = tmp_path / "x.jpeg"
    Image.fromarray(grey).save(file)
    assert header_size(file) == (HEIGHT, WIDTH) == read(file).size
    for content, message in ((b"", "empty"), (b"text", "no picture")):
        file.write_bytes(content)
        with pytest.raises(UnreadableImage, match=message):
            header_size(file)


def test_the_description_names_the_decoder():
    assert radiograph.describe() == {
        "decoder": radiograph.DECODER_VERSION,
        "colour": "grey, repeated to 3 channels",
        "aspect": "stretch",
        "filter": "bilinear, antialiased",
        "copy": {"size": [224, 224], "jpeg_quality": 75, "of": "whatever is not of this size"},
        "range": [0, 255],
    }


@pytest.mark.data
def test_a_real_file_is_read(cxr_root: Path):
    file = cxr_root / "val" / "NORMAL" / "NORMAL2-IM-1427-0001.jpeg"
    picture = read(file)
    assert picture.size == header_size(file)
    assert min(picture.size) > 700
    assert 30 < picture.pixels.mean() < 200


def test_what_is_found_out_about_a_picture_is_found_once(drawn_radiograph):
    picture = radiograph.Radiograph(np.kron(drawn_radiograph(3, 1), np.ones((2, 2), np.uint8)), "x")
    asked = []

    def brightness(one):
        asked.append(one)
        return int(one.copy.max())

    assert picture.once(brightness) == picture.once(brightness) == picture.copy.max()
    assert asked == [picture]
    assert picture.copy is picture.copy is radiograph.resize(picture, radiograph.COPY_SIZE)
    assert not picture.copy.flags.writeable


@pytest.mark.parametrize("size", [(1, 1), (33, 70), (1031, 517)])
def test_grey_values_in_one_piece_are_those_of_numpy(size):
    values = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    image = Image.fromarray(values)
    np.testing.assert_array_equal(grey_pixels._values(image), values)
    turned = image.rotate(90, expand=True)
    np.testing.assert_array_equal(grey_pixels._values(turned), np.rot90(values))


def test_decoders_that_overlap_leave_other_warnings_alone():
    before = list(warnings.filters)
    first, second = grey_pixels.explain_errors("a"), grey_pixels.explain_errors("b")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        inside = list(warnings.filters)
        first.__enter__()
        second.__enter__()
        # Whoever warns meanwhile is heard.
        warnings.warn("mine", UserWarning, stacklevel=1)
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert list(warnings.filters) == inside
    assert [str(one.message) for one in heard] == ["mine"]
    assert list(warnings.filters) == before
