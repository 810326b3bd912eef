"""Objects as annotation tools and libraries write them, brought into the shapes of ``read_objects``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from cl_ner_bench.corpora.readers import fields
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Place
from cl_ner_bench.errors import short

_VIEWS = ("ner", "ner_manual", "spans", "spans_manual")  # of Prodigy: an annotator marks mentions there
_TASK = 'Write {"data": {"text": "Anna ..."}, "annotations": [{"result": [...]}]}'


def plain(item: Any, options: ReaderOptions, place: Place) -> Iterator[Any]:
    """Yield the objects of an item of a file, in the shapes of ``read_objects``; nothing if the item is left out.

    - ``["text", {"entities": [...]}]`` (training lists of spaCy 2) is an object with ``text``.
    - ``{"classes": [...], "annotations": [...]}`` (annotators for spaCy) lists such pairs; null is a skipped text.
    - An ``answer`` of ``reject`` or ``ignore`` (Prodigy) leaves the object out. An object without labels has no
      mentions if it was accepted in a view of mentions.
    - ``tokenized_text`` with ``ner``, a list of ``[first, last, type]`` (GLiNER): the last word is part of the mention.
    - ``data`` with ``annotations`` or, in older files, ``completions`` (Label Studio): see ``_annotated``.

    Anything else is yielded as it is. Problems: ``spans``, ``object``, ``words``. Conventions: ``rejected``,
    ``unlabelled``, ``annotators``, ``untyped``, ``utf-16``, ``offsets``.
    """
    item = _as_object(item)
    if not isinstance(item, dict):
        yield item
    elif item.get("answer") in ("reject", "ignore"):
        place.convention("rejected", f'"answer": "{item["answer"]}"')
    elif item.get("answer") == "accept" and item.get("_view_id") in _VIEWS and not fields.is_labelled(item):
        yield {**item, "spans": []}
    elif "classes" in item and isinstance(item.get("annotations"), list):
        yield from _of_classes(item["annotations"], place)
    elif isinstance(item.get("tokenized_text"), list) and item.get("ner") is not None:
        yield from _with_last_words(item, place)
    elif isinstance(item.get("data"), dict) and item.keys() & {"annotations", "completions"}:
        yield from _annotated(item, options, place)
    else:
        yield item


def _as_object(item: Any) -> Any:
    """Return a pair of a text and its labels as an object; anything else as it is."""
    is_pair = isinstance(item, list) and [type(part) for part in item] == [str, dict]
    return {**item[1], "text": item[0]} if is_pair else item


def _of_classes(texts: Sequence[Any], place: Place) -> Iterator[Any]:
    for n, text in enumerate(texts, 1):
        if text is None:
            place.convention("rejected", f"text {n:,} is null")
        else:
            yield _as_object(text)


def _with_last_words(item: Mapping[str, Any], place: Place) -> Iterator[Mapping[str, Any]]:
    rest = {key: value for key, value in item.items() if key not in ("tokenized_text", "ner")}
    words, spans = item["tokenized_text"], item["ner"]
    other = fields.first(rest, fields.ENTITIES)[0]
    fix = "Write [first, last, type]: words count from 0, and the last one is part of the name"
    if other:
        place.problem("spans", f"mentions under two keys, 'ner' and '{other}'", "Take out one of them")
        return
    if not isinstance(spans, list):
        place.problem("spans", f"'ner' is no list of entities: {short(spans)}", fix)
        return
    entities = []
    for span in spans:
        if not isinstance(span, list) or [type(part) for part in span] != [int, int, str]:
            place.problem("spans", f"expected a mention like [0, 2, 'PER'] in 'ner', found {short(span)}", fix)
        elif not 0 <= span[0] <= span[1] < len(words):
            what = f"mention {short(span[0])} to {short(span[1])} does not fit a sentence of {len(words)} words"
            place.problem("spans", what, fix)
        else:
            entities.append([span[0], span[1] + 1, span[2]])
    if len(entities) == len(spans):
        yield {**rest, "tokens": words, "entities": entities}


def _annotated(item: Mapping[str, Any], options: ReaderOptions, place: Place) -> Iterator[Mapping[str, Any]]:
    """Yield the text of a task with the marks of one of its annotations.

    Annotations that were cancelled (or, in older files, skipped) do not count. ``options.annotator`` chooses one of the
    rest: that of one annotator, or the ``first`` or ``last`` in the file. If some are marked as ground truth, ``first``
    and ``last`` choose among these only. Predictions are no annotations.
    """
    found = [*_list(item.get("annotations")), *_list(item.get("completions"))]
    good = all(isinstance(a, dict) and isinstance(a.get("result"), list) for a in found)
    if not good or not all(isinstance(region, dict) for a in found for region in a["result"]):
        place.problem("object", "expected annotations that hold a 'result', a list of marks", _TASK)
        return
    data = item["data"]
    texts = [data["text"]] if "text" in data else [value for value in data.values() if isinstance(value, str)]
    if len(texts) != 1 or not isinstance(texts[0], str):
        what = f"expected one text in 'data', found {fields.keys(data) if data else 'nothing'}"
        place.problem("words", what, _TASK)
        return
    counted = [a for a in found if not (a.get("was_cancelled") or a.get("skipped"))]
    chosen = _chosen(counted, options.annotator)
    if found and not counted:
        place.convention("rejected", "cancelled")
    elif chosen is None:
        place.convention("unlabelled", f"none by {short(options.annotator)}" if found else "not yet annotated")
    else:
        if len({_marks(a) for a in counted}) > 1:
            place.convention("annotators", f"{len(counted)} annotations of {short(texts[0])}")
        document = fields.document(data) or fields.document(item)
        yield {"text": texts[0], "entities": [*_entities(chosen, texts[0], place)], fields.DOCUMENTS[0]: document}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _chosen(annotations: Sequence[Mapping[str, Any]], annotator: str) -> Mapping[str, Any] | None:
    """Return the annotation that counts, or None."""
    if annotator in ("first", "last"):
        found = [a for a in annotations if a.get("ground_truth") is True] or annotations
    else:
        found = [a for a in annotations if annotator in _names(a.get("completed_by"))]
    return (found[-1] if annotator == "last" else found[0]) if found else None


def _names(person: Any) -> list[str]:
    """Return the id and the e-mail address of an annotator."""
    return [str(person.get(key)) for key in ("id", "email")] if isinstance(person, dict) else [str(person)]


def _marks(annotation: Mapping[str, Any]) -> frozenset[str]:
    """Return start, end and label of all marks, for comparison."""
    values = [region.get("value") for region in annotation["result"]]
    return frozenset(
        repr([value.get("start"), value.get("end"), label])
        for value in values
        if isinstance(value, dict)
        for label in _list(value.get("labels"))
    )


def _entities(annotation: Mapping[str, Any], text: str, place: Place) -> Iterator[Mapping[str, Any]]:
    """Yield the mentions of an annotation, one for each type of a mark. Other results, such as relations and answers
    about the whole text, are skipped. Offsets count UTF-16 units, as in JavaScript, if at least one mark shows it.
    """
    counting = _counting(text, annotation)
    if counting == "unknown":
        place.convention("offsets", short(text))
    for region in annotation["result"]:
        value = region.get("value")
        if not isinstance(value, dict):
            continue
        if tree := next((key for key in ("hypertextlabels", "paragraphlabels") if key in value), ""):
            fix = "Annotate plain text (<Text> with <Labels>), or write the marks as offsets into it"
            place.problem("spans", f"'{tree}' marks parts of a page, expected 'labels' of a text", fix)
        labels = _list(value.get("labels"))
        if not labels and region.get("type") == "labels":
            place.convention("untyped", short(value.get("text", value)))
        mark = {key: value.get(key) for key in ("start", "end", "text")}
        if counting == "utf-16" and (place_in_text := _from_utf16(text, mark["start"], mark["end"])) is not None:
            place.convention("utf-16", f"{short(mark['text'])} in {short(text)}")
            mark["start"], mark["end"] = place_in_text
        for label in labels:
            yield {**mark, "label": label}


def _counting(text: str, annotation: Mapping[str, Any]) -> Literal["characters", "utf-16", "unknown"]:
    """Return the unit of an annotation's offsets, found by the texts that its marks state. It is ``utf-16`` if a mark
    fits only so, and ``unknown`` if marks fit both ways at different places and no mark decides.
    """
    fits = set()
    for region in annotation["result"] if text and max(text) > "\uffff" else ():
        value = region.get("value")
        if not isinstance(value, dict) or not isinstance(said := value.get("text"), str) or not said.strip():
            continue
        start, end = value.get("start"), value.get("end")
        if (in_units := _from_utf16(text, start, end)) is not None:
            fits.add((*(text[first:last].strip() == said.strip() for first, last in ((start, end), in_units)),))
    if (False, True) in fits:
        return "utf-16"
    return "unknown" if (True, True) in fits and (True, False) not in fits else "characters"


def _from_utf16(text: str, start: Any, end: Any) -> tuple[int, int] | None:
    """Return offsets in characters for offsets in UTF-16 units; None if both are the same, or if ``start`` and ``end``
    are no offsets of ``text``.
    """
    units = text.encode("utf-16-le", "surrogatepass")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(units) // 2:
        return None
    before, marked = (units[2 * a : 2 * b].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end)))
    found = len(before), len(before) + len(marked)
    return None if found == (start, end) else found
