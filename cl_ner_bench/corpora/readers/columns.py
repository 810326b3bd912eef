"""CoNLL-style columns."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.readers.lines import fail, lines
from cl_ner_bench.corpora.sentence import Mention, Sentence


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
