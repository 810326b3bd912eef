"""The check that a corpus has mentions of its tasks' types, and tasks that a user names."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from cl_ner_bench.corpora.aliases import as_renamed
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.published_counts import Counts, present_types
from cl_ner_bench.corpora.readers.lines import some
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.readers.tags import UNNAMED
from cl_ner_bench.errors import UserError, did_you_mean, short


def check_mentions(card: Card, counts: Mapping[str, Counts], where: Path, report: Report) -> None:
    """Report the problem ``no mentions`` if train has no mention of the card's types (of any type, if the card names
    none), or if a type of the card occurs nowhere and a type that the card does not name is nearly the same.

    ``counts`` are the counts of each part; ``where`` begins the message.
    """
    present = present_types(counts)
    wanted = card.types or present
    if not present:
        fix = "A corpus needs labelled names: check which column holds the tags"
        report.problem("no mentions", where, 0, "no mention of any type was found", fix)
    elif not any(counts["train"].types[type_] for type_ in wanted):
        text = f"train has no mention of {some(wanted)}; types of the corpus are {some(present)}"
        near = as_renamed(card, present) or did_you_mean(wanted[0], present)
        if [*present] == [UNNAMED]:
            line = f"[reader_options] type = {json.dumps(wanted[0], ensure_ascii=False)}"
            near = f" Tags without a type (B, I, O) are of one that a card may name: {line}."
        fix = f"Is --data the right corpus?{near} Else correct the tasks"
        report.problem("no mentions", where, 0, text, fix)
    else:
        undeclared = [type_ for type_ in present if type_ not in wanted]
        for type_ in wanted:
            near = "" if type_ in present else did_you_mean(type_, undeclared)
            if near:
                text = (
                    f"no mention of {short(type_)}, a type of the card's tasks; types in no task are {some(undeclared)}"
                )
                report.problem("no mentions", where, 0, text, f"Correct the name in the card.{near}")


def parse_tasks(text: str, card: Card, present: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the types of each task of ``--tasks``: tasks are separated by ``;``, their types by ``,``.

    A task of one type has the type's name. A task with the types of a card's task has that task's name. Any other
    task has its types joined by ``+`` as name.
    Raises UserError for an unknown type (with the nearest known type), a repeated type, or no type.
    """
    known = sorted({*present, *card.types})
    names = {frozenset(types): name for name, types in card.tasks.items()}
    tasks: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for group in filter(None, (g.strip() for g in text.split(";"))):
        types: list[str] = []
        for word in filter(None, (w.strip() for w in group.split(","))):
            if word not in known and word not in card.tasks:
                near = did_you_mean(word, [*known, *card.tasks])
                raise UserError(f"--tasks: unknown type {short(word)}; known are {', '.join(known)}.{near}")
            types += [word] if word in known else card.tasks[word]
        for type_ in types:
            if type_ in seen:
                raise UserError(f"--tasks: type {short(type_)} is named twice; a type is learned in one task.")
            seen.add(type_)
        if types:
            tasks[types[0] if len(types) == 1 else names.get(frozenset(types), "+".join(types))] = tuple(types)
    if not tasks:
        raise UserError('--tasks: no types given; write e.g. --tasks "ORG;PERSON;GPE,DATE".')
    return tasks
