"""The sentences of each step as files, for methods that other code learns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.files import canonical, ordered


def exported(split: TaskSplit, corpus: Corpus) -> Iterator[tuple[str, bytes]]:
    """Yield the files by name: the split, the test sentences, and what a method may see in each step.

    Train and dev sentences are labelled as methods of this suite see them: old and future types are not. Test sentences
    have the labels of all types that are learned by the last step; ``split.json`` says at which step each is.
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
