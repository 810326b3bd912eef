"""The cache of parsed corpora, their sub-tokens and downloads: a second start reads neither text nor network.

A parsed corpus is found by a hash of its source (``content_key``), never by a name or a date. A cache file is a line of
JSON with the sha256 of the rest: JSON again, and arrays of numbers. A file is written under another name and then
renamed, so no reader sees half of it. A file that does not fit its checksum is made again from the source.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import uuid4

from cl_ner_bench.caches import cache_folder
from cl_ner_bench.corpora.sentence import Mention, Sentence

VERSION = 7
"""Raise it if a reader changes its output: corpora in the cache are then parsed again."""

_SCHEMA = 1
_NUMBER = "I"


class Parsed(NamedTuple):
    """A parsed corpus: the sentences of each part with all their mentions, the reader's remarks, and the ids of the
    test sentences that begin a document (empty if unknown).
    """

    parts: Mapping[str, tuple[Sentence, ...]]
    remarks: tuple[str, ...] = ()
    documents: tuple[int, ...] = ()


def content_key(source: Any, files: Iterable[tuple[str, Path]] = ()) -> str:
    """Return the sha256 (hex) over ``VERSION``, ``source`` (reader and options), and the files' names and bytes."""
    digest = hashlib.sha256(json.dumps([VERSION, source], sort_keys=True, default=str).encode())
    for name, path in files:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError):
            content = "cannot be read"  # the reader says so
        digest.update(json.dumps([name, content]).encode())
    return digest.hexdigest()


def read(key: str, remarks: list[str]) -> Parsed | None:
    """Return the corpus stored under ``key``, or None. A damaged or unreadable file adds a remark."""
    path = _path(key)
    try:
        header, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        remarks.append(f"the cache cannot be read ({path}: {error.strerror}); the corpus was read from its source")
        return None
    if header != _header(body):
        remarks.append(f"a damaged file in the cache was made again ({path})")
        return None
    return _decode(body)


def write(key: str, parsed: Parsed, remarks: list[str]) -> None:
    """Store a corpus under ``key``. If the cache cannot be written, add a remark: the next start parses again."""
    path = _path(key)
    body = _encode(parsed)
    try:
        with replacing(path) as file:
            file.write(_header(body) + b"\n" + body)
    except OSError as error:
        remarks.append(f"the cache cannot be written ({path.parent}: {error.strerror}); set CL_NER_BENCH_CACHE")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file beside ``path`` to write to, and move it to ``path`` when all is written. Raises OSError."""
    beside = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()


def _path(key: str) -> Path:
    return cache_folder() / "corpora" / f"{key}.corpus"


def _header(body: bytes) -> bytes:
    numbers = f"{sys.byteorder} {array(_NUMBER).itemsize}"  # a cache on a shared disk may come from another machine
    return json.dumps({"schema": _SCHEMA, "numbers": numbers, "sha256": hashlib.sha256(body).hexdigest()}).encode()


def _encode(parsed: Parsed) -> bytes:
    """Return a line of JSON, then numbers of 4 bytes. Words and types are numbers in a vocabulary, so each word is
    decoded and kept in memory once.
    """
    vocabulary: dict[str, int] = {}
    types: dict[str, int] = {}
    sizes, blocks = {}, []
    for part, sentences in parsed.parts.items():
        words = [vocabulary.setdefault(word, len(vocabulary)) for s in sentences for word in s.words]
        mentions = [n for s in sentences for m in s.mentions for n in (*m[:2], types.setdefault(m.type, len(types)))]
        columns = [[len(s.words) for s in sentences], words, [len(s.mentions) for s in sentences], mentions]
        sizes[part] = [len(column) for column in columns]
        blocks += [array(_NUMBER, column).tobytes() for column in columns]
    head: dict[str, Any] = {"vocabulary": [*vocabulary], "types": [*types], "sizes": sizes}
    head |= {"remarks": parsed.remarks, "documents": parsed.documents}
    return b"\n".join([json.dumps(head, ensure_ascii=False).encode(), b"".join(blocks)])


def _decode(body: bytes) -> Parsed:
    line, _, numbers = body.partition(b"\n")
    head = json.loads(line)
    vocabulary, types = head["vocabulary"], head["types"]
    parts, at = {}, 0
    for part, sizes in head["sizes"].items():
        columns = []
        for size in sizes:
            column = array(_NUMBER)
            column.frombytes(numbers[at : at + size * column.itemsize])
            columns.append(column)
            at += size * column.itemsize
        lengths, words, counts, mentions = columns
        texts = map(vocabulary.__getitem__, words)
        found = map(Mention, mentions[::3], mentions[1::3], map(types.__getitem__, mentions[2::3]))
        sentences = [tuple(islice(texts, n)) for n in lengths]
        parts[part] = tuple(map(Sentence, count(), sentences, [tuple(islice(found, n)) if n else () for n in counts]))
    return Parsed(parts, tuple(head["remarks"]), tuple(head["documents"]))
