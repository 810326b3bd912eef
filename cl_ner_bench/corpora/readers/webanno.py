"""WebAnno TSV 3 (also of INCEpTION): a row for each token, a column for each feature of each layer."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora.readers.lines import Row, good_words, lines, some
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Place, Report
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

_ROW = re.compile(r"(\d{1,9}-\d{1,9})(\.\d{1,9})?\t[^\t]*\t([^\t]*)(?:\t(.*))?", re.DOTALL)
_VALUE = re.compile(r"(.*?)(?:\[(\d+)\])?", re.DOTALL)
_NO_NAMES = ("pos", "lemma", "stem", "morph", "token", "sentence", "chunk", "surfaceform", "documentmetadata")
_TYPES = ("value", "label", "type", "category", "class", "entity", "name")  # features that are a mention's type
_TOKEN = 3  # columns before the features: number, characters, token


class _Column(NamedTuple):
    """A column of types: its place, and the type of its marks if the layer has no features."""

    place: int
    type: str = ""


def read_webanno(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield the sentences of a file in WebAnno TSV 3.

    Mentions are the marks of the layer of named entities, else of the only layer of spans that is not about grammar.
    With ``options.tag_columns``, mentions are the marks of these columns, counted from 0. A mention's type is the
    feature ``value`` (or ``label``, ``type``...), else the only feature. A mark on a part of a token counts for the
    whole token.
    Problems: ``webanno`` (which layer is meant, malformed rows), ``words``, and those of ``lines``. Conventions:
    ``inside a word``, ``discontinuous``, ``untyped`` (a mark whose feature has no value).
    """
    layers: list[tuple[str, list[str]]] = []  # name of each layer ("": no spans), and its features
    columns: list[_Column] | None = None
    sentence = _Sentence(path, report)
    number_of = ""
    for number, text in chain(lines(path, report, encoding=options.encoding), [(0, "")]):
        row = _ROW.fullmatch(text)
        if row is None or row[1].partition("-")[0] != number_of:
            yield from sentence.rows()
            sentence = _Sentence(path, report)
        if row is None:
            if text.startswith(("#T_SP=", "#T_CH=", "#T_RL=")):
                name, *features = text[6:].split("|")
                layers.append((name if text.startswith("#T_SP") else "", features))
            elif text and not text.isspace() and not text.startswith("#"):
                fix = "Write 1-1<tab>0-4<tab>Anna<tab>PER, as WebAnno exports it"
                report.problem("webanno", path, number, f"expected a token with its features, found {short(text)}", fix)
            continue
        number_of = row[1].partition("-")[0]
        if columns is None:
            columns = _columns(path, number, layers, options, report)
            if not columns:
                return
        sentence.add(number, row, columns)


def _columns(
    path: Path, number: int, layers: list[tuple[str, list[str]]], options: ReaderOptions, report: Report
) -> list[_Column]:
    """Return the columns of types; none after a problem."""
    if options.tag_columns != ReaderOptions().tag_columns:
        return [_Column(column) for column in options.tag_columns]
    place, spans = _TOKEN, list[tuple[str, int, list[str]]]()
    for name, features in layers:
        if name and name.rpartition(".")[2].casefold() not in _NO_NAMES:
            spans.append((name, place, features))
        place += max(1, len(features))
    chosen = [span for span in spans if span[0].endswith("NamedEntity")] or spans
    fix = "Name the column of types in a card: [reader_options] tag_columns = [3] (the first one behind the token)"
    if len(chosen) != 1:
        what = f"several layers of spans: {some([name for name, _, _ in chosen])}" if chosen else "no layer of spans"
        report.problem("webanno", path, number, what, fix)
        return []
    [(name, place, features)] = chosen
    known = [i for key in _TYPES for i, feature in enumerate(features) if feature.casefold() == key]
    if not features:
        return [_Column(place, name.rpartition(".")[2])]
    if not known and len(features) > 1:
        what = f"layer {short(name)} has several features: {some(features)}"
        report.problem("webanno", path, number, what, fix)
        return []
    return [_Column(place + next(iter(known), 0))]


class _Sentence:
    """The tokens of a sentence so far, and where the marks of each column begin and end."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path, self._report = path, report
        self._line, self._good = 0, True
        self._words: list[str] = []
        self._marked: dict[tuple[int, str, str], list[int]] = {}  # words by column, id and type

    def add(self, number: int, row: re.Match[str], columns: list[_Column]) -> None:
        """Add a token, or a part of the last one."""
        _, part, word, features = row.groups()
        self._line = self._line or number
        if not part:
            self._words.append(sys.intern(_plain(word)))
        if not self._words:
            self._tell(number, f"a part of a token without the token: {short(row[0])}")
            return
        cells = ["", "", "", *(features or "").split("\t")]
        for place, type_ in columns:
            if not -len(cells) <= place < len(cells) or not cells[place]:
                self._tell(number, f"no column {place}: {short(row[0])}")
            elif cells[place] != "_":
                self._mark(number, place, type_, cells[place], f"{row[1]}{part or ''}")
        if part:
            marked = [cells[place] for place, _ in columns if -len(cells) <= place < len(cells)]
            if any(cell != "_" for cell in marked):
                self._report.convention(
                    "inside a word", self._path, number, f"{short(word)} as {short(self._words[-1])}"
                )

    def _mark(self, number: int, place: int, type_: str, cell: str, token: str) -> None:
        for value in re.split(r"(?<!\\)\|", cell):
            match = _VALUE.fullmatch(value)
            assert match is not None
            found = type_ or _plain(match[1])
            if not type_ and match[1] in ("*", ""):
                self._report.convention("untyped", self._path, number, short(value))
                continue
            # A mark of one token has no number.
            words = self._marked.setdefault((place, match[2] or token, sys.intern(found)), [])
            if len(self._words) - 1 not in words:
                words.append(len(self._words) - 1)

    def rows(self) -> Iterator[Row]:
        """Yield the sentence, if it has tokens and no problem."""
        if (
            not self._words
            or not self._good
            or not good_words(self._words, Place(self._report, self._path, self._line))
        ):
            return
        mentions = set()
        for (_, _, type_), words in self._marked.items():
            if words[-1] - words[0] + 1 == len(words):
                mentions.add(Mention(words[0], words[-1] + 1, type_))
            else:
                text = short(" ".join(self._words[i] for i in words))
                self._report.convention("discontinuous", self._path, self._line, text)
        yield Row(self._path, self._line, tuple(self._words), tuple(sorted(mentions)))

    def _tell(self, number: int, text: str) -> None:
        self._good = False
        self._report.problem("webanno", self._path, number, text, "Give every row the columns that the header names")


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text) if "\\" in text else text
