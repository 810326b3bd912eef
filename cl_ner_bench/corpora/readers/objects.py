"""Sentences that are given as objects (JSON, parquet), and the fields of their words, tags and mentions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.readers import exports, fields
from cl_ner_bench.corpora.readers import words as cutting
from cl_ner_bench.corpora.readers.lines import Row, good_words, has_half_pair
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Place, Report, SilentReport
from cl_ner_bench.corpora.readers.tags import Tags
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

# Returns the objects of a file with their lines. Each call begins at the first object.
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
      ``{"start", "end"}`` where these are given;
    - words or a text with ``entities`` without offsets, ``{type: ["Anna", ...]}`` or ``[{"text": "Anna", "label":
      "PER"}]``:
      each text must stand in the sentence once (or as often as it is listed), as whole words;
    - any shape that ``exports.plain`` turns into one of these.

    If an object has mentions and tags, mentions are read, unless they are mere texts (``spans: ["PER: Anna Berg"]``).
    Two keys that contradict each other are a problem; if they cannot be compared, one is read.
    Mentions may nest and overlap; identical mentions count once. An object with a problem is left out, and so is an
    object without words and labels (note ``no words``).
    Problems: ``object`` (no object, or one without labels), ``words``, ``spans``, ``tags``. Conventions: ``inside a
    word``, ``illegal tag``, ``two keys``, and those of ``exports.plain``.
    """
    reader = _Reader(objects, path, options, report, names)
    for place, item in reader.items(report):
        row = reader.row(item, place)
        if row is not None:
            yield row


class _Words(NamedTuple):
    """A sentence's words. If mentions count characters, also its text and the words' borders in the text."""

    words: list[str]
    text: str = ""
    borders: cutting.Borders | None = None

    @property
    def entities(self) -> Sequence[str]:
        """The fields that may hold mentions of these words."""
        return fields.ENTITIES if self.borders is None else fields.TEXT_ENTITIES

    def covered(self, start: int, end: int) -> str:
        """Return the text of a mention. Its offsets count characters, or words if there are no ``borders``."""
        return " ".join(self.words[start:end]) if self.borders is None else self.text[start:end]

    def covers(self, start: int, end: int, said: str) -> bool:
        """Return whether a mention covers the text ``said``, blanks aside."""
        return "".join(self.covered(start, end).split()) == "".join(said.split())


class _Reader:
    def __init__(
        self, objects: Objects, path: Path, options: ReaderOptions, report: Report, names: Mapping[str, Sequence[str]]
    ) -> None:
        self._objects, self._path, self._options, self._report, self._names = objects, path, options, report, names
        self._tags: Tags | None = None

    def items(self, report: Report) -> Iterator[tuple[Place, Any]]:
        """Yield the objects of the file in plain shapes, with their places."""
        before = 0
        for n, (line, item) in enumerate(self._objects(report), 1):
            place = Place(report, self._path, line, n if line == before else 0)
            before = line
            for found in exports.plain(item, self._options, place):
                yield place, found

    def row(self, item: Any, place: Place) -> Row | None:
        """Return the sentence of one object, or None after a problem."""
        if not isinstance(item, dict):
            place.problem("object", "expected a JSON object", "Write one sentence as an object on each line")
            return None
        if fields.is_empty(item):
            place.report.note("no words", place.path, place.line, short(item))
            return None
        found = self._words(item, place)
        if found is None:
            return None
        field, entities = fields.first(item, found.entities)
        tags_field, _ = fields.first(item, fields.TAGS)
        mentions: tuple[Mention, ...] | None
        if field and not (fields.are_texts(entities) and tags_field not in ("", field)):
            mentions = self._mentions(field, entities, found, place)
            if mentions is not None and not self._compare(item, field, mentions, found, place):
                return None
        else:
            mentions = self._from_tags(item, len(found.words), place)
            if mentions is not None and field:
                said = {f"{m.type}: {' '.join(found.words[m.start : m.end])}" for m in mentions}
                if said != {*entities}:
                    place.convention("two keys", f"'{tags_field}' is read, '{field}' says {short(entities)}")
        if mentions is None:
            return None
        words = tuple(map(sys.intern, found.words))
        return Row(self._path, place.line, words, mentions, fields.document(item))

    def _words(self, item: Mapping[str, Any], place: Place) -> _Words | None:
        field, tokens = fields.first(item, fields.WORDS)
        text = item.get("text")
        found = None
        if isinstance(tokens, list) and all(isinstance(word, str) for word in tokens):
            found = _Words(tokens)
        elif isinstance(tokens, list) and isinstance(text, str) and all(isinstance(token, dict) for token in tokens):
            borders = [(token.get("start"), token.get("end")) for token in tokens]
            positions = [position for border in borders for position in border]
            if all(type(i) is int for i in positions) and all(i <= k for i, k in pairwise([0, *positions, len(text)])):
                kept = [(start, end) for start, end in borders if not text[start:end].isspace()]
                labels, tags = (fields.first(item, keys)[0] for keys in (fields.TEXT_ENTITIES, fields.TAGS))
                if len(kept) < len(borders) and labels and tags in ("", labels):  # tags need all tokens
                    place.report.note("blank token", place.path, place.line, short(text))
                    borders = kept
                found = _Words([text[start:end] for start, end in borders], text, borders)
        elif isinstance(tokens, str) and field == "text":
            borders = cutting.cut(tokens, self._options.words)
            found = _Words([tokens[start:end] for start, end in borders], tokens, borders)
        if found is None or not found.words:
            what, fix = "expected 'tokens', a list of words, or 'text'", 'Write {"tokens": ["Anna", ...], ...}'
            if isinstance(tokens, str) and field != "text":
                what = f"'{field}' is a text, expected a list of words"
            elif not field and item:
                what += f"; found {fields.keys(item)}"
            place.problem("words", what, f'{fix} or {{"text": "Anna ...", ...}}')
            return None
        texts = found.words if found.borders is None else [*found.words, found.text]
        return found if good_words(texts, place) else None

    def _from_tags(self, item: Mapping[str, Any], n_words: int, place: Place) -> tuple[Mention, ...] | None:
        if fields.first(item, fields.TAGS)[1] is None:
            place.problem("object", *fields.unlabelled(item, n_words))
            return None
        tags = self._named_tags(item, place)
        if tags is None:
            return None
        if len(tags) != n_words:
            text = f"expected one tag for each of {n_words} words, found {len(tags)} tags"
            fix = "Look up in the source which words and tags belong together: tags added or cut at the end would move"
            place.problem("tags", text, fix)
            return None
        if self._tags is None:
            self._tags = Tags(self._path, self._options, self._report, self._all_tags)
        return self._tags.mentions(tags, [place.line] * n_words)

    def _all_tags(self) -> Iterator[list[str]]:
        items = self.items(SilentReport())
        return filter(None, (self._named_tags(other, at) for at, other in items if isinstance(other, dict)))

    def _named_tags(self, item: Mapping[str, Any], place: Place) -> list[str] | None:
        """Return an object's tags as texts, or None after a problem."""
        field, tags = fields.first(item, fields.TAGS)
        names = self._options.tag_names or self._names.get(field, ())
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) and not has_half_pair("".join(tags)):
            return [*map(sys.intern, tags)]
        if not isinstance(tags, list) or not all(type(tag) is int for tag in tags):
            text, fix = f"expected '{field}', a list of tags", "Write tags as texts like B-PER"
            if fields.are_mentions(tags):
                text, fix = f"'{field}' holds mentions, expected tags", fields.as_entities(field, item)
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
        place.problem("tags", text, fix)
        return None

    def _mentions(self, field: str, entities: Any, found: _Words, place: Place) -> tuple[Mention, ...] | None:
        surfaces = fields.surfaces(entities)
        if surfaces is not None:
            return self._looked_up(surfaces, found, place)
        items = fields.listed(entities)
        if items is None:
            fix = 'Write each as {"start": 0, "end": 2, "label": "PER"}'
            place.problem("spans", f"'{field}' is no list of entities: {short(entities)}", fix)
            return None
        if fields.are_tags(items, len(found.words)):
            text, fix = f"'{field}' holds tags, expected entities", f"Rename '{field}' to 'tags'"
            place.problem("spans", text, fix)
            return None
        names = self._options.tag_names or self._names.get(field, ())
        mentions = [self._mention(item, names, found, place) for item in items]
        return None if None in mentions else tuple(sorted({*filter(None, mentions)}))

    def _looked_up(
        self, surfaces: Sequence[tuple[str, str]], found: _Words, place: Place
    ) -> tuple[Mention, ...] | None:
        """Return the mentions of entities without offsets, or None after a problem."""
        times = Counter(surfaces)
        places = cutting.found({surface for surface, _ in surfaces}, found.words)
        mentions: set[Mention] = set()
        good = True
        for (surface, type_), listed in times.items():
            runs = places[surface]
            if not type_.strip() or has_half_pair(type_):
                place.problem("spans", f"{short(surface)} has no type", 'Write {"PER": ["Anna"]}')
            elif not runs:
                fix = "Write the name as it stands there, as whole words, or give its offsets"
                place.problem("spans", f"{short(type_)} {short(surface)} does not stand in the sentence", fix)
            elif len(runs) not in (1, listed):
                text = f"{short(type_)} {short(surface)} stands {len(runs)} times in the sentence, not once"
                fix = 'Give offsets, {"start": 0, "end": 4, "label": "PER"}, or list the name as often as it is meant'
                place.problem("spans", text, fix)
            else:
                mentions.update(Mention(start, end, sys.intern(type_)) for start, end in runs)
                continue
            good = False
        return tuple(sorted(mentions)) if good else None

    def _compare(
        self, item: Mapping[str, Any], field: str, mentions: Sequence[Mention], found: _Words, place: Place
    ) -> bool:
        """Compare ``mentions``, read under ``field``, with labels under other keys. Return False after a problem."""
        for other in (key for key in found.entities if key != field):
            if item.get(other) != item[field] and fields.are_mentions(item.get(other)):
                place.convention("two keys", f"'{field}' is read, '{other}' is not")
        other, tags = fields.first(item, fields.TAGS)
        if other == field or not isinstance(tags, list) or len(tags) != len(found.words):
            return True
        named = self._named_tags(item, place._replace(report=SilentReport()))
        if named is None or not fields.are_tags(named, len(named)):
            place.convention("two keys", f"'{field}' is read, '{other}' is not")
            return True
        tagged = {*schemes.to_mentions(named, all(tag == "O" or schemes.has_prefix(tag) for tag in named))}
        only = sorted(tagged.difference(mentions))
        if only:
            start, end, type_ = only[0]
            name = " ".join(found.words[start:end])
            text = f"'{field}' and '{other}' contradict each other: {short(type_)} {short(name)} is only in '{other}'"
            place.problem("spans", text, f"Take out '{field}' or '{other}', whichever is wrong")
            return False
        if len(tagged) < len(mentions) and all(a.end <= b.start for a, b in pairwise(mentions)):
            place.convention("two keys", f"'{field}' is read, '{other}' holds fewer mentions")
        return True

    def _mention(self, item: Any, names: Sequence[str], found: _Words, place: Place) -> Mention | None:
        """Return a mention, or None after a problem."""
        said = None
        if isinstance(item, dict):
            said = item.get("text")
            item = [fields.first(item, keys)[1] for keys in (fields.STARTS, fields.ENDS, fields.LABELS)]
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
        elif isinstance(said, str) and not found.covers(start, end, said):
            text = f"mention {start}-{end} covers {short(found.covered(start, end))}, but says {short(said)}"
            fix = f"Count {unit}{' (Unicode code points)' * in_text} from 0; 'end' is exclusive"
            if found.covers(start, end + 1, said):
                fix = "'end' is exclusive, and yours seem to be inclusive: add 1 to the end of every mention"
            elif not in_text:
                fix += ". If yours count characters, leave 'tokens' out and give 'text'"
        elif found.borders is None:
            return Mention(start, end, sys.intern(label))
        else:
            span = cutting.touched(start, end, found.borders)
            if span is not None:
                if span.widened:
                    text = f"{short(found.text[start:end])} as {short(found.words[span.first : span.last])}"
                    place.convention("inside a word", text)
                return Mention(span.first, span.last, sys.intern(label))
            text, fix = f"mention {start}-{end} covers no word", "Let it begin and end with the name"
        place.problem("spans", text, fix)
        return None
