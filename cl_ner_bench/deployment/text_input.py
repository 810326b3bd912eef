"""Input texts for predictions, one per line of a file or stream, with reports of malformed lines."""

from __future__ import annotations

import gzip
import json
import logging
import os
import select
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cl_ner_bench.corpora.readers.lines import has_half_pair
from cl_ner_bench.deployment.predicting import Answer
from cl_ner_bench.deployment.text_output import misfit
from cl_ner_bench.errors import UserError, short

NAMED = 20
"""Number of malformed lines that messages name. Further lines are only counted."""

_BLOCK = 1 << 16
_GZIP = b"\x1f\x8b"
_BOM = "\ufeff"
_WORDS = ("tokens", "words")

_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """The origin of a text: its line (from 1), and the ``id`` of its JSON object, if any."""

    number: int
    id: dict[str, Any]


class _MalformedError(ValueError):
    pass


class TextInput:
    """The texts of ``source``, one per line. Iteration reads the source once.

    Lines end at LF or CRLF. A JSON line holds an object with ``text``, or else with a list ``tokens`` or ``words``, and
    maybe an ``id``, which is kept. A blank line is a text without words; among JSON lines it is ignored. Iteration
    yields None if a pipe has no data at the moment.

    Args:
        source: a file, plain or gzipped (by its content), or a stream of bytes.
        name: the name of the source in messages.
        is_jsonl: True if the lines are JSON.
        skip: leave malformed lines out and count them in ``skipped``. Otherwise the texts end before the first
            malformed line, and ``fault`` describes it.
        format: the output format. A text that it cannot hold is malformed.

    Raises:
        UserError: the file cannot be read.
    """

    def __init__(
        self, source: Path | BinaryIO, name: str, is_jsonl: bool, skip: bool = False, format: str = "jsonl"
    ) -> None:
        self.name, self._is_jsonl, self._skip, self._format = name, is_jsonl, skip, format
        self.fault, self.skipped = "", 0
        self.size: int | None = None
        if isinstance(source, Path):
            try:
                self._raw: BinaryIO = source.open("rb")
                status = os.fstat(self._raw.fileno())
                self.size = status.st_size if stat.S_ISREG(status.st_mode) else None  # a named pipe is a stream
            except OSError as error:
                raise UserError(f"{name}: cannot be read ({error.strerror})") from None
        else:
            self._raw = source

    @property
    def done(self) -> int:
        """The number of bytes read so far, or 0 for a stream."""
        if self.size is None:
            return 0
        return self.size if self._raw.closed else self._raw.tell()

    def reads(self, path: Path) -> bool:
        """Return True if ``path`` is the file that is read, under this or another name."""
        with suppress(OSError):  # no such file, or a stream without a file
            status = os.fstat(self._raw.fileno())
            return stat.S_ISREG(status.st_mode) and os.path.samestat(status, path.stat())
        return False

    def __iter__(self) -> Iterator[Answer | None]:
        number = 0
        try:
            for line in self._lines():
                if line is None:
                    yield None
                    continue
                number += 1
                try:
                    answer = self._answer(number, line)
                except _MalformedError as error:
                    if not self._skip:
                        self.fault = f"{self.name}:{number}: {error}. Mend the line, or leave such ones out: "
                        self.fault += "--skip-malformed"
                        return
                    self.skipped += 1
                    if self.skipped <= NAMED:
                        _log.warning(f"{self.name}:{number}: {error}: skipped")
                    if self.skipped == NAMED:
                        _log.warning("further malformed lines are counted, not named")
                else:
                    if answer is not None:
                        yield answer
        except (OSError, EOFError, zlib.error) as error:
            self.fault = f"{self.name}: cannot be read behind line {number} ({error})"

    def _lines(self) -> Iterator[bytes | None]:
        if self.size is None:
            yield from _as_they_come(self._raw)
            return
        with self._raw as file:
            is_gzip = self.size > 1 and file.read(2) == _GZIP
            file.seek(0)
            yield from gzip.GzipFile(fileobj=file) if is_gzip else file

    def _answer(self, number: int, raw: bytes) -> Answer | None:
        """Return the text of a line, or None if it has none."""
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise _MalformedError(f"not UTF-8 (byte {error.start + 1} of the line)") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if number == 1:
            text = text.removeprefix(_BOM)
        given: str | list[str] = text
        id: dict[str, Any] = {}
        if self._is_jsonl:
            if not text.strip():
                return None
            given, id = self._of_object(text)
        if bad := misfit(self._format, given):
            raise _MalformedError(bad)
        return Answer(given, Line(number, id))

    def _of_object(self, text: str) -> tuple[str | list[str], dict[str, Any]]:
        try:
            item = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _MalformedError(f"not JSON ({error})") from None
        if not isinstance(item, dict):
            raise _MalformedError(f'expected an object as {{"text": "Anna ..."}}, found {short(item)}')
        id = {"id": item["id"]} if "id" in item else {}
        given: Any = item.get("text")
        if given is None:
            given = next((item[key] for key in _WORDS if item.get(key) is not None), None)
            self._check_words(given, item)
        elif not isinstance(given, str):
            raise _MalformedError(f'"text" is {short(given)}, expected a string')
        try:
            again = json.dumps([given, id], ensure_ascii=False, allow_nan=False)
        except ValueError:
            raise _MalformedError('"id" holds NaN or an infinite number, which JSON has not') from None
        except RecursionError:
            raise _MalformedError('"id" is nested too deeply') from None
        if has_half_pair(again):
            raise _MalformedError(r"half of a surrogate pair; write both halves (\ud83d\ude00)")
        return given, id

    def _check_words(self, words: Any, item: dict[str, Any]) -> None:
        if words is None:
            found = ", ".join(map(short, list(item)[:5])) or "no key"
            raise _MalformedError(f'no "text" and no "tokens", found {found}')
        if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
            raise _MalformedError('"tokens" is no list of words, none of them blank')


def _as_they_come(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines of a stream, and None whenever it has no data at the moment."""
    try:
        handle = stream.fileno()
        select.select([handle], [], [], 0)
    except (OSError, ValueError):  # no file of the system, or (on Windows) no socket
        yield from stream
        return
    line = bytearray()
    while True:
        if not select.select([handle], [], [], 0)[0]:
            yield None
        block = os.read(handle, _BLOCK)
        if not block:
            break
        first, *others = block.split(b"\n")
        line += first
        for other in others:
            yield bytes(line)
            line = bytearray(other)
    if line:
        yield bytes(line)
