"""The fields of an object (JSON, parquet): their names, and tests of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cl_ner_bench.corpora.readers.lines import some
from cl_ner_bench.corpora.schemes import PHRASES, has_prefix
from cl_ner_bench.errors import short

WORDS = ("tokens", "words", "char_lst", "tokenized_text", "text")
TAGS = ("ner_tags", "tags", "labels")
ENTITIES = ("entities", "spans", "mentions", "ent_dct")
TEXT_ENTITIES = (*ENTITIES, "label", "labels")
STARTS, ENDS, LABELS = ("start", "start_offset"), ("end", "end_offset"), ("label", "type", "entity", "labels")
LABEL_FIELDS = frozenset([*TAGS, *TEXT_ENTITIES])
DOCUMENTS = ("doc_id", "document_id", "docid", "doc_key", "document", "pmid")
FIELDS = frozenset([*WORDS, *LABEL_FIELDS, *DOCUMENTS, "ner", "answer", "_view_id"])


def first(item: Mapping[str, Any], fields: Sequence[str]) -> tuple[str, Any]:
    """Return the first of ``fields`` that an object has, and its value; else ``("", None)``."""
    return next(((field, item[field]) for field in fields if item.get(field) is not None), ("", None))


def is_empty(item: Mapping[str, Any]) -> bool:
    """Return whether an object holds neither words nor labels: ``{"text": "", "entities": []}``."""
    words = first(item, WORDS)[1]
    blank = words == [] or (isinstance(words, str) and not words.strip())
    return blank and not any(item.get(field) for field in LABEL_FIELDS)


def is_labelled(item: Mapping[str, Any]) -> bool:
    """Return whether an object has a known key of labels, even with an empty list."""
    return any(item.get(field) is not None for field in LABEL_FIELDS)


def document(item: Mapping[str, Any]) -> str:
    """Return the name or number of an object's document, "" if it gives none."""
    name = first(item, DOCUMENTS)[1]
    return str(name) if isinstance(name, str | int) else ""


def keys(item: Mapping[str, Any]) -> str:
    """Return the keys of an object as a message lists them."""
    return f"the keys {some([*map(str, item)])}" if len(item) > 1 else f"the key {short(next(iter(item)))}"


def listed(entities: Any) -> list[Any] | None:
    """Return entities as a list, however they are grouped; None if that is impossible."""
    if isinstance(entities, list):
        return entities
    if not isinstance(entities, dict) or not all(isinstance(values, list) for values in entities.values()):
        return None
    if _are_columns(entities):
        if len({len(values) for values in entities.values()}) > 1:
            return None
        return [dict(zip(entities, values, strict=True)) for values in zip(*entities.values(), strict=True)]
    pairs = [(span, type_) for type_, spans in entities.items() for span in spans]
    return [[*span, type_] if isinstance(span, list) else span for span, type_ in pairs]


def surfaces(entities: Any) -> list[tuple[str, str]] | None:
    """Return text and type of each entity if there are entities and all are without offsets: ``{"PER": ["Anna", ...]}``
    or ``[{"text": "Anna", "label": "PER"}]``. Otherwise return None.
    """
    if isinstance(entities, dict) and not _are_columns(entities):
        if not all(isinstance(values, list) for values in entities.values()):
            return None
        pairs = [(text, type_) for type_, texts in entities.items() for text in texts]
    elif isinstance(entities, list) and all(isinstance(item, dict) for item in entities):
        if any(first(item, [*STARTS, *ENDS])[0] for item in entities):
            return None
        pairs = [(item.get("text"), first(item, LABELS)[1]) for item in entities]
    else:
        return None
    good = all(isinstance(text, str) and isinstance(type_, str) for text, type_ in pairs)
    return pairs if pairs and good else None


def are_texts(value: Any) -> bool:
    """Return True for a list of one or more texts."""
    return isinstance(value, list) and value != [] and all(isinstance(text, str) for text in value)


def are_mentions(value: Any) -> bool:
    """Return True for one or more mentions in a shape that is read."""
    items = listed(value)

    def is_mention(item: Any) -> bool:
        if isinstance(item, dict):
            return all(first(item, fields)[0] for fields in (STARTS, ENDS, LABELS))
        return isinstance(item, list | tuple) and len(item) == 3 and [type(part) for part in item[:2]] == [int, int]

    return bool(items) and all(map(is_mention, items or ()))


def are_tags(value: Any, n_words: int) -> bool:
    """Return True for a list of one tag like O or B-PER for each word. Tags of phrases (B-NP) do not count."""
    if not isinstance(value, list) or len(value) != n_words or not all(isinstance(tag, str) for tag in value):
        return False
    phrases = {tag[2:] for tag in value} <= PHRASES and any(map(has_prefix, value))
    return ("O" in value or all(map(has_prefix, value))) and not phrases


def unlabelled(item: Mapping[str, Any], n_words: int) -> tuple[str, str]:
    """Return the problem of an object without labels under a known key, and a fix that keeps its labels."""
    what = next((f"'{key}' is null" for key in item if key in LABEL_FIELDS and item[key] is None), "")
    what = what or "no 'entities' and no 'tags'"
    others = {key: value for key, value in item.items() if key not in WORDS and value is not None}
    for known, look, test in (
        ("entities", "mentions", are_mentions),
        ("tags", "tags", partial(are_tags, n_words=n_words)),
        ("tags", "numbers of tags", partial(_are_numbers, n_words=n_words)),
    ):
        found = [key for key, value in others.items() if test(value)]
        if len(found) == 1:
            fix = as_entities(found[0], item) if known == "entities" else f"Rename {short(found[0])} to '{known}'"
            return f"{what}, but {short(found[0])} looks like {look}", fix
        if found:
            fix = f"Call '{known}' what holds the names"
            return f"{what}, but {' and '.join(map(short, found))} look like {look}", fix
    shape = 'as "entities": [{"start": 0, "end": 2, "label": "PER"}] or as "tags": ["B-PER", "I-PER", "O"]'
    if others:
        return f"{what}; found {keys(others)}", f"Where one of them holds the names, write them {shape}"
    return what, f'Write the names {shape}; "entities": [] only where the sentence is known to have none'


def as_entities(key: str, item: Mapping[str, Any]) -> str:
    """Return the fix for mentions under an unknown key. Only the user knows if ``[0, 1, "PER"]`` is one word or two."""
    fix = f"Rename {short(key)} to 'entities'"
    words, value = first(item, WORDS)
    if not isinstance(value, list) or not isinstance(item[key], list) or not isinstance(item[key][0], list | tuple):
        return fix
    pairs = [f"{short(old)} to '{new}'" for old, new in ((words, "tokenized_text"), (key, "ner")) if old != new]
    fix += " where the ends are exclusive ([0, 2] is two words)"
    return f"{fix}; rename {' and '.join(pairs)} where they are inclusive ([0, 1] is two words)"


def _are_columns(entities: Mapping[str, Any]) -> bool:
    return bool(first(entities, STARTS)[0] and first(entities, ENDS)[0])


def _are_numbers(value: Any, n_words: int) -> bool:
    return isinstance(value, list) and len(value) == n_words and all(type(number) is int for number in value)
