from __future__ import annotations

import io
import struct
import zipfile

import pytest

from page import archive


def zip_members(members: dict[str, bytes], **options) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(
        written, "w", **({"compression": zipfile.ZIP_DEFLATED} | options)
    ) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return written.getvalue()


@pytest.fixture
def batch(tmp_path):
    """The function from names and contents of uploads to what :func:`archive.open_uploads` makes of
    them: the count announced, and the entries.
    """

    def open_all(uploads: dict[str, bytes]):
        files = []
        for number, (name, content) in enumerate(uploads.items()):
            file = tmp_path / str(number)
            file.write_bytes(content)
            files.append((name, file))
        total, entries = archive.open_uploads(files)
        return total, list(entries)

    return open_all


def test_files_and_archives_come_in_the_order_given(batch):
    total, found = batch(
        {
            "z.png": b"1",
            "b.zip": zip_members({"ward/deep/y.png": b"2", "a.png": b"3"}),
            "c.png": b"4",
        }
    )
    assert total == 4
    assert [(entry.name, entry.content) for entry in found] == [
        ("z.png", b"1"),
        ("b.zip/ward/deep/y.png", b"2"),
        ("b.zip/a.png", b"3"),
        ("c.png", b"4"),
    ]


def test_litter_of_other_systems_is_no_picture(batch):
    members = {
        "__MACOSX/ward/._x.png": b"",
        "ward/.DS_Store": b"",
        "Thumbs.db": b"",
        "ward/DICOMDIR": b"",
        "ward/": b"",
        "ward/x.png": b"1",
        "ward\\.hidden": b"",
    }
    assert [entry.name for entry in batch({"b.zip": zip_members(members)})[1]] == [
        "b.zip/ward/x.png"
    ]


def test_an_archive_is_known_by_its_bytes_not_its_name(batch):
    assert [entry.name for entry in batch({"pictures.dat": zip_members({"x.png": b"1"})})[1]] == [
        "pictures.dat/x.png"
    ]
    assert [entry.name for entry in batch({"picture.zip": b"no archive"})[1]] == ["picture.zip"]


def test_one_more_than_the_limit_is_refused_before_anything_is_read(batch, monkeypatch):
    monkeypatch.setattr(archive, "MOST", 3)
    assert batch({"x.png": b"1", "b.zip": zip_members({"1": b"", "2": b""})})[0] == 3
    monkeypatch.setattr(archive, "_member", lambda *_: pytest.fail("nothing may be unpacked"))
    with pytest.raises(
        archive.TooMany,
        match="4 files or more, and a batch takes 3 at most",
    ):
        batch({"x.png": b"1", "b.zip": zip_members({"1": b"", "2": b"", "3": b""})})
    # What is listed after that is not read either: a hundred archives may list millions.
    read = []
    contents = archive._contents
    monkeypatch.setattr(archive, "_contents", lambda file: read.append(file) or contents(file))
    many = zip_members({str(number): b"" for number in range(4)})
    with pytest.raises(archive.TooMany):
        batch({"a.zip": many, "b.zip": many})
    assert len(read) == 1


def test_what_is_too_large_is_left_out_and_the_rest_goes_on(batch, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    monkeypatch.setattr(archive, "MOST_UNPACKED", 1500)
    _, found = batch(
        {
            "big.png": bytes(1001),
            "b.zip": zip_members(
                {"bomb": bytes(10_000_000), "1": bytes(900), "2": bytes(900), "3": bytes(600)}
            ),
        }
    )
    assert [entry.content and len(entry.content) for entry in found] == [None, None, 900, None, 600]
    assert [entry.problem.split()[:3] for entry in found if entry.problem] == [
        ["It", "is", "larger"],
        ["It", "is", "larger"],
        ["With", "it,", "the"],
    ]


def test_a_false_size_in_the_archive_unpacks_no_more_than_is_allowed(batch, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    content = bytearray(zip_members({"bomb": bytes(5_000_000)}))
    # The size unpacked, in the member's own header and in the table of contents: said to be 10
    # bytes.
    for place in (content.find(b"PK\x03\x04") + 22, content.find(b"PK\x01\x02") + 24):
        content[place : place + 4] = struct.pack("<I", 10)
    found = batch({"b.zip": bytes(content)})[1]
    assert len(found) == 1 and (found[0].content is None or len(found[0].content) <= 1000)


def test_a_table_of_contents_without_end_is_not_read(batch, monkeypatch):
    content = zip_members({f"{number}.png": b"" for number in range(10)})
    monkeypatch.setattr(archive, "MOST_CONTENTS", 200)
    monkeypatch.setattr(
        zipfile, "ZipFile", lambda *_: pytest.fail("the table of contents may not be read")
    )
    assert [entry.problem for entry in batch({"b.zip": content})[1]] == [
        "This archive is damaged, or lists more files than can be read here."
    ]


def make_locked() -> bytes:
    content = bytearray(zip_members({"x.png": b"1"}))
    for place in (content.find(b"PK\x03\x04") + 6, content.find(b"PK\x01\x02") + 8):
        content[place] |= 1
    return bytes(content)


def make_damaged() -> bytes:
    content = bytearray(zip_members({"x.png": bytes(range(256)) * 20}))
    content[45:60] = bytes(15)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zip_members({}), "There is no file in this archive."),
        (zip_members({"__MACOSX/x": b""}), "There is no file in this archive."),
        (
            zip_members({"x.png": b"1"})[:-30],
            "This archive is damaged, or lists more files than can be read here.",
        ),
        (
            zip_members({"inner.zip": zip_members({"x.png": b"1"})}),
            "An archive inside an archive is not opened; send it by itself.",
        ),
        (make_locked(), "It is locked with a password."),
        (make_damaged(), "It is damaged inside the archive and cannot be unpacked."),
    ],
    ids=["empty", "litter only", "cut off", "nested", "locked", "damaged"],
)
def test_what_cannot_be_taken_says_why_and_the_others_are(batch, content, problem):
    total, found = batch({"b.zip": content, "fine.png": b"1"})
    assert total == 2
    assert [entry.problem for entry in found] == [problem, None]
