"""Readers: files of sentences, line by line, as ``Sentence`` values.

A malformed line raises UserError with ``file:line``, what was expected and what to do. Nothing is repaired
silently: a reading that needed a convention leaves a remark.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.sentence import PARTS, Mention, Sentence
from cl_ner_bench.errors import UserError

_PART_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "development", "valid", "validation", "val", "testa"),
    "test": ("test", "testing", "testb"),
}
# Files that lie beside data and are none.
_NO_DATA = {
    ".md",
    ".toml",
    ".ids",
    ".py",
    ".log",
    ".csv",
    ".json",
    ".zip",
    ".tar",
    ".pdf",
    ".html",
    ".sha256",
}


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


def read_file(path: Path, remarks: list[str]) -> Iterator[Sentence]:
    """The sentences of one file: JSON lines where its name says ``.jsonl`` or it begins with ``{``, else columns."""
    first = next((text.lstrip() for _, text in lines(path) if text.strip()), "")
    if ".jsonl" in path.suffixes or first.startswith(("{", "[{")):
        return read_jsonl(path)
    return read_columns(path, remarks)


# JSON lines ---------------------------------------------------------------------------------------------------


def read_jsonl(path: Path) -> Iterator[Sentence]:
    """A JSON object a line: ``tokens`` (or ``words``) with ``entities`` (``spans``, ``mentions``) or ``tags``.

    Entities are ``{"start", "end", "label"}`` (or ``"type"``) or ``[start, end, type]``, in words, ``end`` exclusive;
    ``tags`` (``ner_tags``, ``labels``) are strings in any scheme of ``schemes``.
    """
    count = 0
    prefixed: bool | None = None
    for number, text in lines(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            fail(path, number, f"not JSON ({error})", "Write one JSON object on each line")
        if not isinstance(row, dict):
            fail(path, number, "expected a JSON object", "Write one sentence as an object on each line")
        words = _field(row, "tokens", "words")
        if not isinstance(words, list) or not words or not all(isinstance(w, str) and w.strip() for w in words):
            fail(path, number, "expected 'tokens', a list of words", 'Write {"tokens": ["Anna", ...], ...}')
        entities = _field(row, "entities", "spans", "mentions")
        tags = _field(row, "ner_tags", "tags", "labels")
        if isinstance(entities, list):
            found = sorted({_mention(path, number, item, len(words)) for item in entities})
        elif isinstance(tags, list):
            if len(tags) != len(words) or not all(isinstance(tag, str) for tag in tags):
                fail(
                    path,
                    number,
                    f"expected one tag string for each of {len(words)} words, found {len(tags)} tags",
                    "Write tags as strings like B-PER; numbers need their names",
                )
            if prefixed is None and any(tag != "O" for tag in tags):
                prefixed = schemes.has_prefixes(tags)
            found = list(_decode(path, [number] * len(words), tags, prefixed is not False))
        else:
            fail(path, number, "no 'entities' and no 'tags'", 'Write "entities": [] where a sentence has none')
        yield Sentence(count, tuple(words), tuple(found))
        count += 1


def _field(row: dict[str, Any], *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _mention(path: Path, number: int, item: Any, n_words: int) -> Mention:
    if isinstance(item, dict):
        item = [item.get("start"), item.get("end"), _field(item, "label", "type")]
    if not isinstance(item, list) or len(item) != 3 or not isinstance(item[2], str) or not item[2]:
        fail(
            path,
            number,
            "an entity needs start, end and label",
            'Write {"start": 0, "end": 2, "label": "PER"}',
        )
    start, end, type_ = item
    if type(start) is not int or type(end) is not int:
        fail(path, number, f"start {start!r} and end {end!r} must be whole numbers", "Count words from 0")
    if start == end:
        fail(path, number, f"empty mention {start}-{end}", "'end' is exclusive: one word is [i, i + 1]")
    if not 0 <= start < end <= n_words:
        fail(
            path,
            number,
            f"mention {start}-{end} does not fit a sentence of {n_words} words",
            "Count words (not characters) from 0; 'end' is exclusive",
        )
    return Mention(start, end, sys.intern(type_))


# Columns ------------------------------------------------------------------------------------------------------


def read_columns(path: Path, remarks: list[str]) -> Iterator[Sentence]:
    """CoNLL-style columns: the word first, its tag last, blank lines between sentences.

    Columns are separated by tabs where the file's first row holds one, else by blanks and tabs; every row has
    as many as the first. ``-DOCSTART-`` rows are skipped. Tags are in IO (the official Few-NERD files), IOB1,
    BIO or BIOES.
    """
    rows = list(_rows(path))
    tags = [tags for _, _, tags in rows]
    prefixed = schemes.has_prefixes(tag for sentence in tags for tag in sentence)
    decoded = [_decode(path, numbers, tags, prefixed) for numbers, _, tags in rows]
    scheme = schemes.detect(tags)
    if scheme != "IO":
        odd = [
            numbers[0]
            for (numbers, words, tags), mentions in zip(rows, decoded, strict=True)
            if schemes.to_tags(mentions, len(words), scheme) != _plain(tags)
        ]
        if odd:
            remarks.append(
                f"{path.name}: {len(odd)} sentences hold tags that are illegal in {scheme} (first at line {odd[0]}); "
                "read as the CoNLL script does: a mention begins at B or where the type changes"
            )
    for i, ((_, words, _), mentions) in enumerate(zip(rows, decoded, strict=True)):
        yield Sentence(i, tuple(words), mentions)


def _rows(path: Path) -> Iterator[tuple[list[int], list[str], list[str]]]:
    """Line numbers, words and tags of each sentence."""
    numbers: list[int] = []
    words: list[str] = []
    tags: list[str] = []
    separator, width = "", 0
    for number, text in chain(lines(path), [(0, "")]):
        if not text.strip() or text.startswith("-DOCSTART-"):
            if words:
                yield numbers, words, tags
                numbers, words, tags = [], [], []
            continue
        if not width:
            separator = "\t" if "\t" in text else "[ \t]+"
        cells = re.split(separator, text.rstrip("\t " if separator != "\t" else " "))
        width = width or len(cells)
        if width < 2:
            fail(
                path,
                number,
                f"expected a word and a tag, found {text!r}",
                "Separate them by a tab or a blank",
            )
        if len(cells) != width:
            fail(
                path,
                number,
                f"{len(cells)} columns where the first row has {width}",
                "Give every row the same columns, separated as in the first row",
            )
        if not cells[0].strip() or not cells[-1].strip():
            fail(path, number, "the word or the tag is empty", "Write the word first and its tag last")
        numbers.append(number)
        words.append(cells[0])
        tags.append(sys.intern(cells[-1]))


def _decode(path: Path, numbers: list[int], tags: list[str], prefixed: bool) -> tuple[Mention, ...]:
    try:
        return schemes.to_mentions(tags, prefixed)
    except ValueError:
        for number, tag in zip(numbers, tags, strict=True):
            try:
                schemes.split_tag(tag, prefixed)
            except ValueError as error:
                fail(
                    path,
                    number,
                    f"{error}, expected O or B-, I-, E-, S- and a type",
                    "Use one scheme in a file",
                )
        raise


def _plain(tags: list[str]) -> list[str]:
    """The tags with the letters of BIOES where they are written BILOU or BMES."""
    return ["-".join(filter(None, schemes.split_tag(tag))) for tag in tags]


# Folders ------------------------------------------------------------------------------------------------------


def find_parts(folder: Path) -> dict[str, Path]:
    """The train, dev and test file of a folder, told by their names: ``train.txt``, ``a.dev.conll``, ``eng.testa``.

    Raises UserError where a part is missing or several files could be it.
    """
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    files = [p for p in files if Path(p.name.removesuffix(".gz")).suffix.lower() not in _NO_DATA]
    found = {}
    for part in PARTS:
        pattern = re.compile(rf"(?<![a-z])({'|'.join(_PART_NAMES[part])})(?![a-z])")
        candidates = [p for p in files if pattern.search(p.name.lower())]
        exact = [p for p in candidates if p.name.lower().split(".")[0] in _PART_NAMES[part]]
        candidates = exact or candidates
        if not candidates:
            names = ", ".join(p.name for p in files[:8]) or "no files"
            raise UserError(
                f"{folder}: no {part} file among {names}. Expected one with {part!r} in its name, "
                f"like {part}.txt, {part}.conll or {part}.jsonl."
            )
        if len(candidates) > 1:
            names = ", ".join(p.name for p in candidates)
            raise UserError(f"{folder}: several files could be the {part} part: {names}. Keep one in the folder.")
        found[part] = candidates[0]
    return found
