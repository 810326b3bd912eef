"""Sentences that are given as objects (JSON, parquet): which fields hold words, tags and mentions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cl_ner_bench.corpora.readers import words as cutting
from cl_ner_bench.corpora.readers.lines import Row, good_words, has_half_pair, some
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report, SilentReport
from cl_ner_bench.corpora.readers.tags import Tags
from cl_ner_bench.corpora.schemes import PHRASES, has_prefix
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

_WORDS = ("tokens", "words", "char_lst", "text")
_TAGS = ("ner_tags", "tags", "labels")
_ENTITIES = ("entities", "spans", "mentions", "ent_dct")
_TEXT_ENTITIES = (*_ENTITIES, "label", "labels")
_STARTS, _ENDS, _LABELS = ("start", "start_offset"), ("end", "end_offset"), ("label", "type", "entity", "labels")
FIELDS = frozenset([*_WORDS, *_TAGS, *_TEXT_ENTITIES])
LABEL_FIELDS = FIELDS - {*_WORDS}

# Gives the objects of a file with their lines, from the first one each time it is called.
Objects = Callable[[Report], Iterator[tuple[int, Any]]]


def read_objects(
    objects: Objects, path: Path, options: ReaderOptions, report: Report, names: Mapping[str, Sequence[str]]
) -> Iterator[Row]:
    """Yield the sentences of a file of objects. ``names`` are the names of class ids, by field.

    Shapes of an object:

    - ``tokens`` (or ``words``, ``char_lst``, ``text``), a list, with ``entities`` (``spans``, ``mentions``), a list of
      ``{"start", "end", "label"}`` (or ``type``, ``entity``) or ``[start, end, type]`` in words, ``end`` exclusive;
      also ``{type: [[start, end], ...]}`` (``ent_dct`` of SpanKL's files) and ``{"start": [...], "end": [...],
      "label": [...]}`` (Hugging Face's lists of features);
    - the same words with ``ner_tags`` (``tags``, ``labels``), a tag for each: texts, or numbers where
      ``options.tag_names`` or ``names`` names them;
    - ``text``, a text, with ``entities`` (``spans``, ``mentions``, ``label``, ``labels``) in characters (also
      ``start_offset`` and ``end_offset``): it is cut into words by ``words.cut``, or at ``tokens`` of
      ``{"start", "end"}`` where these are given.

    Mentions may nest and overlap; of identical ones one is kept. An object with a problem is left out.
    Problems: ``object`` (no object, or one without labels), ``words``, ``spans``, ``tags``. Conventions: ``inside a
    word``, ``illegal tag``.
    """
    reader = _Reader(objects, path, options, report, names)
    for number, item in objects(report):
        row = reader.row(number, item)
        if row is not None:
            yield row


class _Words(NamedTuple):
    """A sentence's words, and where they lie in its text if mentions are given in its characters."""

    words: list[str]
    text: str = ""
    borders: cutting.Borders | None = None


class _Reader:
    def __init__(
        self, objects: Objects, path: Path, options: ReaderOptions, report: Report, names: Mapping[str, Sequence[str]]
    ) -> None:
        self._objects, self._path, self._options, self._report, self._names = objects, path, options, report, names
        self._tags: Tags | None = None

    def row(self, number: int, item: Any) -> Row | None:
        """Return the sentence of one object, or None after a problem."""
        if not isinstance(item, dict):
            self._problem("object", number, "expected a JSON object", "Write one sentence as an object on each line")
            return None
        found = self._words(number, item)
        if found is None:
            return None
        field, entities = _first(item, _ENTITIES if found.borders is None else _TEXT_ENTITIES)
        if field:
            mentions = self._mentions(number, field, entities, found)
        else:
            mentions = self._from_tags(number, item, len(found.words))
        return None if mentions is None else Row(self._path, number, tuple(map(sys.intern, found.words)), mentions)

    def _problem(self, kind: str, number: int, text: str, fix: str) -> None:
        self._report.problem(kind, self._path, number, text, fix)

    def _words(self, number: int, item: Mapping[str, Any]) -> _Words | None:
        field, tokens = _first(item, _WORDS)
        text = item.get("text")
        found = None
        if isinstance(tokens, list) and all(isinstance(word, str) for word in tokens):
            found = _Words(tokens)
        elif isinstance(tokens, list) and isinstance(text, str) and all(isinstance(token, dict) for token in tokens):
            borders = [(token.get("start"), token.get("end")) for token in tokens]
            positions = [position for border in borders for position in border]
            if all(type(i) is int for i in positions) and all(i <= k for i, k in pairwise([0, *positions, len(text)])):
                found = _Words([text[start:end] for start, end in borders], text, borders)
        elif isinstance(tokens, str) and field == "text":
            borders = cutting.cut(tokens)
            found = _Words([tokens[start:end] for start, end in borders], tokens, borders)
        if found is None or not found.words:
            what, fix = "expected 'tokens', a list of words, or 'text'", 'Write {"tokens": ["Anna", ...], ...}'
            if isinstance(tokens, str) and field != "text":
                what = f"'{field}' is a text, expected a list of words"
            elif not field and item:
                what += f"; found {_keys(item)}"
            self._problem("words", number, what, f'{fix} or {{"text": "Anna ...", ...}}')
            return None
        texts = found.words if found.borders is None else [*found.words, found.text]
        return found if good_words(texts, self._path, number, self._report) else None

    def _from_tags(self, number: int, item: Mapping[str, Any], n_words: int) -> tuple[Mention, ...] | None:
        if _first(item, _TAGS)[1] is None:
            self._problem("object", number, *_unlabelled(item, n_words))
            return None
        tags = self._named_tags(number, item, self._report)
        if tags is None:
            return None
        if len(tags) != n_words:
            text = f"expected one tag for each of {n_words} words, found {len(tags)} tags"
            fix = "Look up in the source which words and tags belong together: tags added or cut at the end would move"
            self._problem("tags", number, text, fix)
            return None
        if self._tags is None:
            everything = (
                self._named_tags(i, o, SilentReport()) for i, o in self._objects(SilentReport()) if isinstance(o, dict)
            )
            self._tags = Tags(self._path, self._options, self._report, filter(None, everything))
        return self._tags.mentions(tags, [number] * n_words)

    def _named_tags(self, number: int, item: Mapping[str, Any], report: Report) -> list[str] | None:
        """Return an object's tags as texts, or None after a problem."""
        field, tags = _first(item, _TAGS)
        names = self._options.tag_names or self._names.get(field, ())
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) and not has_half_pair("".join(tags)):
            return [*map(sys.intern, tags)]
        if not isinstance(tags, list) or not all(type(tag) is int for tag in tags):
            text, fix = f"expected '{field}', a list of tags", "Write tags as texts like B-PER"
            if _are_mentions(tags):
                text, fix = f"'{field}' holds mentions, expected tags", f"Rename '{field}' to 'entities'"
        elif not names:
            text = f"the tags in '{field}' are numbers without names"
            fix = 'Write them as texts like B-PER, or name them in a card: tag_names = ["O", "B-PER", ...]'
        elif not all(0 <= tag < len(names) for tag in tags):
            unknown = next(tag for tag in tags if not 0 <= tag < len(names))
            text, fix = (
                f"tag {short(unknown)} has no name; {len(names)} are named",
                "Complete 'tag_names'; they count from 0",
            )
        else:
            return [names[tag] for tag in tags]
        report.problem("tags", self._path, number, text, fix)
        return None

    def _mentions(self, number: int, field: str, entities: Any, found: _Words) -> tuple[Mention, ...] | None:
        items = _listed(entities)
        if items is None:
            fix = 'Write each as {"start": 0, "end": 2, "label": "PER"}'
            self._problem("spans", number, f"'{field}' is no list of entities: {short(entities)}", fix)
            return None
        if _are_tags(items, len(found.words)):
            text, fix = f"'{field}' holds tags, expected entities", f"Rename '{field}' to 'tags'"
            self._problem("spans", number, text, fix)
            return None
        names = self._options.tag_names or self._names.get(field, ())
        mentions = [self._mention(number, item, names, found) for item in items]
        return None if None in mentions else tuple(sorted({*filter(None, mentions)}))

    def _mention(self, number: int, item: Any, names: Sequence[str], found: _Words) -> Mention | None:
        """Return a mention, or None after a problem."""
        said = None
        if isinstance(item, dict):
            said = item.get("text")
            item = [_first(item, fields)[1] for fields in (_STARTS, _ENDS, _LABELS)]
        start, end, label = item if isinstance(item, list | tuple) and len(item) == 3 else (None, None, None)
        if isinstance(label, list) and len(label) == 1:
            label = label[0]
        if type(label) is int and 0 <= label < len(names):
            label = names[label]
        in_text = found.borders is not None
        size = len(found.text) if found.borders is not None else len(found.words)
        unit, other = ("characters", "bytes or words") if in_text else ("words", "characters")
        if not isinstance(label, str) or not label.strip() or has_half_pair(label) or start is None or end is None:
            text, fix = "an entity needs start, end and label", 'Write {"start": 0, "end": 2, "label": "PER"}'
        elif type(start) is not int or type(end) is not int:
            text, fix = f"start {short(start)} and end {short(end)} must be whole numbers", f"Count {unit} from 0"
        elif start == end:
            text = f"empty mention {short(start)}-{short(end)}"
            fix = (
                "'end' is exclusive: one word is [i, i + 1]. If yours are inclusive, add 1 to the end of every mention"
            )
        elif not 0 <= start < end <= size:
            text = f"mention {short(start)}-{short(end)} does not fit a sentence of {size} {unit}"
            fix = f"Count {unit} (not {other}) from 0; 'end' is exclusive"
        elif found.borders is None:
            return Mention(start, end, sys.intern(label))
        elif isinstance(said, str) and said.strip() != found.text[start:end].strip():
            text = f"mention {start}-{end} covers {short(found.text[start:end])}, but says {short(said)}"
            fix = "Count characters (Unicode code points) from 0; 'end' is exclusive"
        else:
            span = cutting.touched(start, end, found.borders)
            if span is not None:
                if span.widened:
                    text = f"{short(found.text[start:end])} as {short(found.words[span.first : span.last])}"
                    self._report.convention("inside a word", self._path, number, text)
                return Mention(span.first, span.last, sys.intern(label))
            text, fix = f"mention {start}-{end} covers no word", "Let it begin and end with the name"
        self._problem("spans", number, text, fix)
        return None


def _first(item: Mapping[str, Any], fields: Sequence[str]) -> tuple[str, Any]:
    """Return the first of ``fields`` that an object has, and its value; else ``("", None)``."""
    return next(((field, item[field]) for field in fields if item.get(field) is not None), ("", None))


def _listed(entities: Any) -> list[Any] | None:
    """Return entities as a list, however they are grouped; None where that is impossible."""
    if isinstance(entities, list):
        return entities
    if not isinstance(entities, dict) or not all(isinstance(values, list) for values in entities.values()):
        return None
    if _first(entities, _STARTS)[0] and _first(entities, _ENDS)[0]:
        if len({len(values) for values in entities.values()}) > 1:
            return None
        return [dict(zip(entities, values, strict=True)) for values in zip(*entities.values(), strict=True)]
    pairs = [(span, type_) for type_, spans in entities.items() for span in spans]
    return [[*span, type_] if isinstance(span, list) else span for span, type_ in pairs]


def _unlabelled(item: Mapping[str, Any], n_words: int) -> tuple[str, str]:
    """Return what is wrong with an object without labels under a known key, and what to do that keeps its labels."""
    what = next((f"'{key}' is null" for key in item if key in LABEL_FIELDS and item[key] is None), "")
    what = what or "no 'entities' and no 'tags'"
    others = {key: value for key, value in item.items() if key not in _WORDS and value is not None}
    for known, look, test in (
        ("entities", "mentions", _are_mentions),
        ("tags", "tags", partial(_are_tags, n_words=n_words)),
        ("tags", "numbers of tags", partial(_are_numbers, n_words=n_words)),
    ):
        keys = [short(key) for key, value in others.items() if test(value)]
        if len(keys) == 1:
            return f"{what}, but {keys[0]} looks like {look}", f"Rename {keys[0]} to '{known}'"
        if keys:
            fix = f"Call '{known}' what holds the names"
            return f"{what}, but {' and '.join(keys)} look like {look}", fix
    shape = 'as "entities": [{"start": 0, "end": 2, "label": "PER"}] or as "tags": ["B-PER", "I-PER", "O"]'
    if others:
        return f"{what}; found {_keys(others)}", f"Where one of them holds the names, write them {shape}"
    return what, f'Write the names {shape}; "entities": [] only where the sentence is known to have none'


def _keys(item: Mapping[str, Any]) -> str:
    return f"the keys {some([*map(str, item)])}" if len(item) > 1 else f"the key {short(next(iter(item)))}"


def _are_mentions(value: Any) -> bool:
    """Return True for mentions in one of the shapes that are read, at least one."""
    items = _listed(value)

    def is_mention(item: Any) -> bool:
        if isinstance(item, dict):
            return all(_first(item, fields)[0] for fields in (_STARTS, _ENDS, _LABELS))
        return isinstance(item, list | tuple) and len(item) == 3 and [type(part) for part in item[:2]] == [int, int]

    return bool(items) and all(map(is_mention, items or ()))


def _are_tags(value: Any, n_words: int) -> bool:
    """Return True for a tag like O or B-PER for each word; phrases (B-NP) are no names."""
    if not isinstance(value, list) or len(value) != n_words or not all(isinstance(tag, str) for tag in value):
        return False
    phrases = {tag[2:] for tag in value} <= PHRASES and any(map(has_prefix, value))
    return ("O" in value or all(map(has_prefix, value))) and not phrases


def _are_numbers(value: Any, n_words: int) -> bool:
    return isinstance(value, list) and len(value) == n_words and all(type(number) is int for number in value)
