"""Checks of unusual tasks."""

from __future__ import annotations

from collections.abc import Sequence

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.learning.contract import some
from cl_ner_bench.testing.conformance.faults import Fault
from cl_ner_bench.testing.conformance.inputs import (
    CORPUS,
    UNSEEN,
    names_alone,
    split,
    task,
    with_types,
    without,
)
from cl_ner_bench.testing.conformance.lab import Lab


def one_sentence(lab: Lab) -> str:
    """A task of one sentence is learned, and another after it."""
    return _learns_all(lab, (("PER",), range(8)), (("DATE",), with_types(["DATE"])[:1]), (("LOC",), range(8, 16)))


def one_mention(lab: Lab) -> str:
    """A type with one mention is learned."""
    rare = with_types(["DATE"])[:1] + without("DATE")[:5]
    return _learns_all(lab, (("LOC", "DATE"), rare), (("PER",), range(8)))


def no_entities(lab: Lab) -> str:
    """A task without entities is learned, as the first and later."""
    of_none, of_some = (("DATE",), without("DATE")[:6]), (("PER",), range(8))
    return _learns_all(lab, of_none, of_some, (("LOC",), without("LOC")[:6]), (("PER",), range(8, 16)))


def no_other_words(lab: Lab) -> str:
    """A task in which every word is labelled is learned, as the first and later."""
    of = names_alone("DATE")
    dates = with_types(["DATE"])
    return _learns_all(lab, (("DATE",), dates[:6]), (("PER",), range(8)), of=of) + _learns_all(
        lab, (("PER",), range(8)), (("DATE",), dates[:6]), of=of
    )


def returning_type(lab: Lab) -> str:
    """A type that comes back is learned again, and keeps its columns."""
    tasks = (
        (("PER",), range(6)),
        (("LOC", "DATE"), range(6, 12)),
        (("DATE", "PER"), range(12, 18)),
        (("LOC",), range(18, 24)),
    )
    return _learns_all(lab, *tasks)


def _learns_all(lab: Lab, *tasks: tuple[Sequence[str], Sequence[int]], of: Corpus = CORPUS) -> str:
    """Learn tasks, each of types and train ids. Raise Fault if a weight is NaN or the model lacks a type."""
    tasks_split = split(of, *(task(types, train, range(2 * k, 2 * k + 4)) for k, (types, train) in enumerate(tasks)))
    for step, (trainer, _) in enumerate(lab.steps(tasks_split, lambda step: of, epochs=1), 1):
        if bad := [name for name, value in trainer.learner.state_dict().items() if value.isnan().any()]:
            raise Fault(f"{some(bad)} hold NaN after step {step}: guard means over no word, and logarithms of 0")
        if {*trainer.learner.head.types} != {*lab.data(tasks_split, step, of).types}:
            raise Fault(f"the model knows {trainer.learner.head.types} after step {step}: each type needs columns once")
    trainer.predict(UNSEEN[:4])
    return ""
