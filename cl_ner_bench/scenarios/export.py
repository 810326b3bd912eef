"""The sentences of each step as files, for methods whose code is not in this suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.files import canonical, ordered


def exported(split: TaskSplit, corpus: Corpus) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file: the split, the test sentences, and the sentences of each step.

    Train and dev sentences have only the labels that methods of this suite see (``StepData.shown``). Test sentences
    have the labels of all learned types; ``split.json`` says which step learns which type.
    """
    yield "split.json", f"{canonical(split.to_json())}\n".encode()
    yield "test.jsonl", _lines(split.test_part(corpus, split.n_steps))
    for step in range(1, split.n_steps + 1):
        shown = split.step_data(corpus, step).shown
        yield f"step-{step}/train.jsonl", _lines(shown.train)
        yield f"step-{step}/dev.jsonl", _lines(shown.dev)


def _lines(sentences: Iterable[Sentence]) -> bytes:
    rows = ({"id": s.id, "words": s.words, "mentions": s.mentions} for s in sentences)
    return "".join(f"{ordered(row)}\n" for row in rows).encode()
