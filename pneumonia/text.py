"""What a file claims, made fit to be repeated: on a terminal, in a log, in a table."""

from __future__ import annotations

import unicodedata

# Longer than any name or sentence a person gave.
MOST = 300
# Control characters, surrogates (bytes of a name that is no text), private and unassigned ones, and
# format characters: among these the ones that turn the direction of writing.
_UNFIT = {"Cc", "Cs", "Co", "Cn", "Cf", "Zl", "Zp"}

# A spreadsheet runs a cell that begins like this as a formula.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# And where the comma is for decimals, it begins a new cell at each semicolon, quoted or not.
_BREAKS = str.maketrans(dict.fromkeys(map(chr, (*range(32), 127)), " ") | {";": ","})


def cell(text: str) -> str:
    """A text as a cell of a table that a spreadsheet may open: no formula, in one piece, and UTF-8
    even where a file's name is not.
    """
    text = text.translate(_BREAKS)
    text = "".join(_escape(sign) if "\ud800" <= sign <= "\udfff" else sign for sign in text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def harmless(text: object, most: int = MOST) -> str:
    """One line of text in which what could steer a terminal, or is no character, stands as its
    escape, cut in the middle where it is longer than ``most`` characters.
    """
    shown = "".join(
        _escape(sign) if unicodedata.category(sign) in _UNFIT else sign for sign in str(text)
    )
    if len(shown) <= most:
        return shown
    half = (most - 1) // 2
    return f"{shown[:half]}…{shown[-half:]}"


def _escape(sign: str) -> str:
    code = ord(sign)
    # A byte of a name that is not UTF-8 comes in as a surrogate.
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode("ascii") if code < 0xD800 else f"\\u{code:04x}"
