"""Text files as numbered lines or as chunks, and the rows that readers make of them."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from cl_ner_bench.corpora.readers.problems import Place, Report
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short
from cl_ner_bench.untrusted import unpack_limit

Encoding = Literal[
    "auto", "utf-8", "latin-1", "iso-8859-2", "iso-8859-15", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254",
    "koi8-r", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr",
]  # fmt: skip
"""Encodings in which a tab, a blank and a line end are one byte, as in ASCII."""

_CHUNK = 1 << 18  # bytes
_LISTED = 8  # names in a message
_BOM = b"\xef\xbb\xbf"
# Ellipsis, quotes and dashes, which are the same bytes in all single-byte code pages of Windows.
_MARKS = frozenset(b"\x85\x91\x92\x93\x94\x96\x97")
_APOSTROPHE = b"\x92"
_NO_ASCII = re.compile(rb"([A-Za-z]?)([\x80-\xff]+)(?=([A-Za-z]?))")


class Row(NamedTuple):
    """A sentence as a file holds it: the place where it begins, its words, its mentions (sorted, nested or not).

    ``document`` tells the documents of a file apart if the file marks them.
    """

    path: Path
    line: int
    words: tuple[str, ...]
    mentions: tuple[Mention, ...]
    document: str = ""


def lines(
    path: Path, report: Report, keep_ends: bool = False, encoding: Encoding = "utf-8"
) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a text file, plain or gzipped (found by content), without byte-order mark and line
    ends.

    Only LF or CRLF ends a line: words may hold the other characters that Unicode counts as line ends.
    With the encoding ``auto`` a file is UTF-8, or else Windows-1252 if it looks like that (``_is_western``).
    Problems: ``unreadable`` (no such file, broken gzip), ``encoding`` (UTF-16, a line that is not in the encoding, a
    second byte-order mark, a lone carriage return), ``binary`` (a NUL byte). Convention: ``code page``.
    """
    number = 1
    codec: Encoding = "utf-8" if encoding == "auto" else encoding
    undecided = encoding == "auto"
    try:
        with _open(path) as file:
            while block := file.readlines(_CHUNK):
                if number == 1 and _is_utf16(block[0], path, report):
                    return
                # For speed, a block without anything odd is decoded at once.
                whole = b"".join(block)
                if undecided and not whole.isascii() and not _is_utf8(whole):
                    undecided = False
                    if _is_western(path):
                        codec = "cp1252"
                if codec == "cp1252" != encoding:
                    for i, raw in enumerate(block, number):
                        if not raw.isascii():
                            report.convention("code page", path, i, short(raw.decode(codec, "replace").rstrip("\r\n")))
                texts = None if keep_ends else _plain(whole, codec)
                if texts is not None:
                    yield from enumerate(texts, number)
                else:
                    for i, raw in enumerate(block, number):
                        if _is_binary(raw, path, i, report):
                            return
                        text = _decoded(raw, codec, path, i, report)
                        if text is not None:
                            yield i, text if keep_ends else text.rstrip("\r\n")
                number += len(block)
    except (OSError, EOFError, zlib.error) as error:
        _tell_unreadable(path, number, error, report)


def chunks(path: Path, report: Report) -> Iterator[str]:
    """Yield a UTF-8 text file as ``lines`` does, but cut anywhere, because a line may be as long as the file."""
    decoder, number = codecs.getincrementaldecoder("utf-8")(), 1
    try:
        with _open(path) as file:
            while True:
                raw = file.read(_CHUNK)
                if (number == 1 and _is_utf16(raw, path, report)) or _is_binary(raw, path, number, report):
                    return
                try:
                    yield decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    _tell_encoding(path, number + raw[: error.start].count(b"\n"), error, report)
                    return
                if not raw:
                    return
                number += raw.count(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        _tell_unreadable(path, number, error, report)


def head(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked and without byte-order mark; b"" if it cannot be read."""
    try:
        with _open(path) as file:
            return file.read(1 << 14)
    except (OSError, EOFError, zlib.error):
        return b""


def has_half_pair(text: str) -> bool:
    """Return whether text holds half of a surrogate pair, which no file can hold in UTF-8 (JSON can: an escape)."""
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)


def good_words(words: Collection[str], place: Place) -> bool:
    """Return whether words are text: not empty, not only blanks, no half of a surrogate pair. Problem: ``words``."""
    if not all(words) or any(map(str.isspace, words)):
        what = "a word is empty or blank"
        fix = "Write the word; where there was none, take its tag out too, and count the words of the mentions again"
    elif has_half_pair("".join(words)):
        what, fix = "a word holds half of a surrogate pair", r"Write whole characters, or both halves (\ud83d\ude00)"
    else:
        return True
    place.problem("words", what, fix)
    return False


def some(names: Sequence[str]) -> str:
    """Return the first names as a message lists them, and how many more there are."""
    rest = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*(short(name)[1:-1] for name in names[:_LISTED]), *rest])


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_western(path: Path) -> bool:
    """Return whether a file that is not UTF-8 looks like Windows-1252.

    No run of bytes above ASCII may be UTF-8. Most runs must be one or two letters of Windows-1252 beside an ASCII
    letter. Quotes and dashes are enough in a file without other runs. Between letters they count against Windows-1252,
    except an apostrophe. Raises the errors of reading the file.
    """
    good = bad = marks = 0
    with _open(path) as file:
        while block := file.readlines(_CHUNK):
            for match in _NO_ASCII.finditer(b"".join(block)):
                run = match[2]
                if _is_utf8(run):
                    return False
                between = match[1] and match[3]
                if _MARKS.issuperset(run) and (not between or run == _APOSTROPHE):
                    marks += 1
                    continue
                beside = (match[1] + match[3])[:1].isalpha()
                if beside and len(run) <= 2 and run.decode("cp1252", "replace").isalpha():
                    good += 1
                else:
                    bad += 1
    return good > bad or (marks > 0 and good == bad == 0)


def _plain(block: bytes, codec: str) -> list[str] | None:
    """Return the lines of a block, or None if one of them needs a closer look."""
    block = block.replace(b"\r\n", b"\n")
    if any(odd in block for odd in (b"\0", b"\r", _BOM)):
        return None
    try:
        return block.decode(codec).removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return None


def _decoded(raw: bytes, codec: Encoding, path: Path, number: int, report: Report) -> str | None:
    """Return one line with its end, or None after a problem."""
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        _tell_encoding(path, number, error, report, codec)
        return None
    if "\r" in text.rstrip("\r\n"):
        what = "a carriage return inside the line"
        fix = "Where it ends lines, write LF (tr '\\r' '\\n'); elsewhere write a blank"
    elif text.startswith("\ufeff"):
        what = "a byte-order mark inside the file"
        fix = "Take it out; it comes from joining files, and their sentences may need an empty line between them"
    else:
        return text
    report.problem("encoding", path, number, what, fix)
    return None


def _is_utf16(raw: bytes, path: Path, report: Report) -> bool:
    found = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    if found:
        fix = f"Convert it: iconv -f utf-16 -t utf-8 {path.name} > utf8-{path.name}"
        report.problem("encoding", path, 1, "UTF-16, expected UTF-8", fix)
    return found


def _is_binary(raw: bytes, path: Path, number: int, report: Report) -> bool:
    found = b"\0" in raw
    if found:
        fix = "Give text in UTF-8 (columns, JSON lines, brat), or parquet in a file named .parquet"
        line = number + raw[: raw.index(b"\0")].count(b"\n")
        report.problem("binary", path, line, "a NUL byte: this is no text file", fix)
    return found


def _tell_encoding(
    path: Path, number: int, error: UnicodeDecodeError, report: Report, codec: Encoding = "utf-8"
) -> None:
    fix = f"Convert the file from its own encoding, e.g. iconv -f cp1252 -t utf-8 {path.name} > utf8-{path.name}"
    fix += '; of columns, a card may name it: [reader_options] encoding = "cp1252"'
    report.problem("encoding", path, number, f"not {codec.upper()} ({error.reason})", fix)


def _tell_unreadable(path: Path, number: int, error: Exception, report: Report) -> None:
    if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
        text, fix = f"cannot be read ({error.strerror})", "Check the path and its rights"
        report.problem("unreadable", path, 0, text, fix)
    else:
        fix = "Download or compress it again"
        report.problem("unreadable", path, number, f"broken gzip file ({error})", fix)


class _Unpacking(gzip.GzipFile):
    """A gzip file that counts as broken if it unpacks to more than ``untrusted.unpack_limit``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._left = unpack_limit(path.stat().st_size)

    def readinto(self, buffer: Any) -> int:
        size = super().readinto(buffer)
        self._left -= size
        if self._left < 0:
            raise gzip.BadGzipFile("it unpacks to far more than text does")
        return size


def _open(path: Path) -> BinaryIO:
    """Open a file, unpacked if need be, and skip its byte-order mark."""
    file = path.open("rb")
    try:
        if file.peek(2)[:2] == b"\x1f\x8b" or path.suffix == ".gz":
            file.close()
            file = BufferedReader(_Unpacking(path))
        if file.peek(len(_BOM)).startswith(_BOM):
            file.read(len(_BOM))
    except BaseException:
        file.close()
        raise
    return file
