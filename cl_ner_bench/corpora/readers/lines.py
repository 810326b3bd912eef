"""The numbered lines of a text file, and how a malformed one is told."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import UserError


def fail(path: Path, line: int, problem: str, fix: str) -> NoReturn:
    """Raise the UserError of one malformed line."""
    raise UserError(f"{path}:{line}: {problem}. {fix}")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file, plain or gzipped, without line ends (LF or CRLF) or byte-order mark.

    Only LF ends a line: words may hold the other characters that Unicode counts as line ends.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        fail(path, number, f"not UTF-8 ({error.reason})", "Convert the file, e.g. iconv -f latin1 -t utf-8")
    except (EOFError, gzip.BadGzipFile) as error:
        fail(path, number + 1, f"broken gzip file ({error})", "Download or compress it again")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None


class Row(NamedTuple):
    """A sentence as a file holds it: where it begins, its words, its mentions (sorted, nested or not)."""

    path: Path
    line: int
    words: tuple[str, ...]
    mentions: tuple[Mention, ...]
