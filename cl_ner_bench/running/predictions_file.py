"""Files of predictions of other code, as JSON lines or CoNLL columns, checked against the test sentences.

docs/imported.md describes both forms.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.untrusted import unpacked
from cl_ner_bench.validation import Count, convert

Mentions = list[list[Any]]  # [start, end, type, score]; the score is None if the file gives none
_ID = re.compile(r"#\s*id\s*[=:]\s*(\d{1,15})\s*")
_LISTED = 5


class _Row(Struct, frozen=True):
    """A line of JSON. Other keys are ignored."""

    id: Count
    pred: list[list[Any]]
    gold: list[list[Any]] | None = None
    words: list[str] | None = None


@dataclass(frozen=True)
class ScoredPart:
    """The test sentences after a step.

    ``scored`` are the scored sentences in stored order, with the labels scored after this step. ``others`` are the ids
    of test sentences of domains that are learned later; their predictions are left out.
    """

    step: int
    scored: tuple[Sentence, ...]
    others: frozenset[int]
    learned_at: Mapping[str, int]  # by type

    @classmethod
    def of(cls, split: TaskSplit, corpus: Corpus, step: int) -> ScoredPart:
        scored = tuple(split.test_part(corpus, step))
        learned_at = {type_: steps[0] for type_, steps in split.labelled_at.items()}
        return cls(step, scored, frozenset(split.test) - {s.id for s in scored}, learned_at)


def read_predictions(path: Path, test: ScoredPart) -> list[Mentions]:
    """Return the sorted mentions that a file predicts in each of the ``scored`` sentences.

    Raises:
        UserError: the file cannot be read, or does not fit the sentences. The message names the line.
    """
    try:
        content = path.read_bytes()
        text = (unpacked(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path}: no text in UTF-8 ({error})") from None
    rows = _json_rows if text.lstrip().startswith("{") else _column_rows
    sentences = {sentence.id: sentence for sentence in test.scored}
    found: dict[int, Mentions] = {}
    first: dict[int, int] = {}  # line of each sentence
    for line, row in rows(path, text):
        where = f"{path}:{line}"
        if row.id in first:
            raise UserError(f"{where}: sentence {row.id} stands in line {first[row.id]} already; give each one once")
        first[row.id] = line
        if row.id in sentences:
            found[row.id] = _checked(row, sentences[row.id], test, where)
        elif row.id not in test.others:
            raise UserError(
                f"{where}: the test part in use has no sentence {row.id}; ids are those that `bench data export` "
                "writes, with the same dataset, scenario, split seed and sample"
            )
    if missing := [id_ for id_ in sentences if id_ not in found]:
        listed = ", ".join(map(str, missing[:_LISTED])) + ("" if len(missing) <= _LISTED else ", ...")
        raise UserError(
            f"{path}: {len(missing):,} of {len(sentences):,} test sentences are missing ({listed}); every one needs a "
            "row, also where nothing is found (predictions of a sample need its --max-sentences)"
        )
    return [found[sentence.id] for sentence in test.scored]


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, _Row]]:
    for number, line in enumerate(text.split("\n"), 1):  # words may hold other line breaks
        if line and not line.isspace():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{path}:{number}: no JSON ({getattr(error, 'msg', error)}); write an object a line"
                ) from None
            yield number, convert(value, _Row, f"{path}:{number}")


def _column_rows(path: Path, text: str) -> Iterator[tuple[int, _Row]]:
    """Yield the sentences of columns: ``# id = N``, then one line per word, with the word first and its tag last."""
    id_, start = None, 0
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*text.replace("\r\n", "\n").split("\n"), ""], 1):
        where = f"{path}:{number}"
        if not words and (comment := _ID.fullmatch(line)):
            id_, start = int(comment[1]), number
        elif line and not line.isspace():
            if id_ is None:
                raise UserError(f"{where}: a sentence without its id; write `# id = N` before its first word")
            cells = line.split("\t") if "\t" in line else line.split()
            if len(cells) < 2:
                raise UserError(f"{where}: expected a word and its tag, found {short(line)}")
            try:
                schemes.split_tag(cells[-1])
            except ValueError as error:
                raise UserError(f"{where}: {error}; tags are O, B-TYPE, I-TYPE (or BIOES)") from None
            words.append(cells[0])
            tags.append(cells[-1])
        elif id_ is not None and words:
            mentions = [list(mention) for mention in schemes.to_mentions(tags)]
            yield start, _Row(id_, mentions, words=words)
            id_, words, tags = None, [], []
    if id_ is not None:
        raise UserError(f"{path}:{start}: sentence {id_} has no words")


def _checked(row: _Row, sentence: Sentence, test: ScoredPart, where: str) -> Mentions:
    if row.words is not None and tuple(row.words) != sentence.words:
        raise UserError(f"{where}: {_other_words(row.words, sentence)}: it is of another copy of the corpus")
    if row.gold is not None:
        scored = [m for m in row.gold if m[2:3] and test.learned_at.get(str(m[2]), math.inf) <= test.step]
        if {json.dumps(m[:3]) for m in scored} != {json.dumps(m) for m in sentence.mentions}:
            raise UserError(
                f"{where}: its 'gold' is not that of sentence {sentence.id} after step {test.step}: it is of another "
                "copy of the corpus, split or step"
            )
    return sorted((_mention(m, sentence, test, where) for m in row.pred), key=lambda m: m[:3])


def _other_words(words: Sequence[str], sentence: Sentence) -> str:
    if len(words) != len(sentence.words):
        return f"{len(words)} words, sentence {sentence.id} has {len(sentence.words)}"
    at = next(i for i, (a, b) in enumerate(zip(words, sentence.words, strict=True)) if a != b)
    return f"word {at} is {short(words[at])}, in sentence {sentence.id} it is {short(sentence.words[at])}"


def _mention(value: list[Any], sentence: Sentence, test: ScoredPart, where: str) -> list[Any]:
    """Return ``[start, end, type, score]``."""
    start, end, type_, score, *rest = [*value, None] if len(value) == 3 else [*value, *[None] * (4 - len(value))]
    number = score is None or (isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score))
    if rest or not number or type(start) is not int or type(end) is not int or not isinstance(type_, str):
        raise UserError(
            f"{where}: expected mentions [start, end, type] or [start, end, type, score], found {short(value)}"
        )
    if not 0 <= start < end <= len(sentence.words):
        raise UserError(
            f"{where}: {short(value)} is no span of sentence {sentence.id}, which has {len(sentence.words)} words "
            "(the first is 0, the end exclusive)"
        )
    learned = test.learned_at.get(type_)
    if learned is None:
        known = [*test.learned_at]
        raise UserError(
            f"{where}: unknown type {short(type_)}; known are {', '.join(known)}.{did_you_mean(type_, known)}"
        )
    if learned > test.step:
        raise UserError(
            f"{where}: type {type_} is learned in step {learned}, and these are predictions after step {test.step}: "
            "leave such mentions out"
        )
    return [start, end, type_, score]
