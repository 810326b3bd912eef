"""Labels that a protocol hides: a method that looks at all it can reach sees none, and learns the same, to the bit.

The conformance suite checks it of every method, with the protocol ``split``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import msgspec
import pytest
import torch
from torch import Tensor

from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.learning.learner import Batch, Learner, Output, SpanLearner, StepData, TagLearner
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.scenarios.protocol import SEEN, Protocol, Scenario
from cl_ner_bench.scenarios.split import make_split
from cl_ner_bench.testing.tiny import RECIPE, tiny_corpus

CORPUS = tiny_corpus()
TYPES = CORPUS.card.types
PROTOCOLS: dict[str, str | Scenario] = {
    **{name: name for name in ("split", "filter", "fg1-pg1", "fg1-pg1-seen", "add-one-k2")},
    "epochs chosen by all types seen": Scenario(
        "own", msgspec.structs.replace(SEEN, selection="macro"), increments=(1, 1)
    ),
    "whole dev, last epoch": Scenario("own", Protocol(dev="whole", selection="last")),
}


class Nosy(Learner):
    """Looks at the labels of every sentence that it can reach, keeps what it saw, and begins with a head made of it."""

    types_seen: ClassVar[set[str]] = set()  # of all: a learner's own attributes may be put back

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("sum", torch.zeros((), dtype=torch.float64))

    def look(self, sentences: Iterable[Sentence]) -> None:
        for sentence in sentences:
            for mention in sentence.mentions:
                self.types_seen.add(mention.type)
                self.sum += 7 * mention.start + mention.end + 100 * TYPES.index(mention.type)

    def enter(self, data: StepData) -> None:
        super().enter(data)
        self.look((*data.train, *data.dev))

    def begin_step(self, data: StepData) -> None:
        self.look((*data.train, *data.dev))
        with torch.no_grad():
            for weights in self.head.parameters():
                weights.add_(self.sum.to(weights.dtype) * 1e-6)

    def end_step(self, data: StepData) -> None:
        self.look((*data.train, *data.dev))

    def encode(self, batch: Batch) -> Tensor:
        self.look(example.sentence for example in batch.examples)
        return super().encode(batch)

    def forward(self, batch: Batch) -> Output:
        self.look(example.sentence for example in batch.examples)
        return super().forward(batch)


class NosySpan(Nosy, SpanLearner):
    pass


class NosyToken(Nosy, TagLearner):
    needs = frozenset({"teacher"})


def make(learner: type[Learner], encoder: str) -> Trainer:
    return Trainer(learner, {}, RECIPE, encoder, seed=0)


def poisoned(corpus: Corpus, allowed: dict[str, set[str]]) -> Corpus:
    """The corpus with other mentions of all types that are not ``allowed`` in a part."""

    def spoil(sentence: Sentence, types: set[str]) -> Sentence:
        mentions = [m for m in sentence.mentions if m.type in types]
        mentions += [Mention(1, 3, t) for t in TYPES if t not in types]
        return replace(sentence, mentions=tuple(sorted(mentions)))

    return replace(
        corpus, parts={part: tuple(spoil(s, allowed[part]) for s in corpus.parts[part]) for part in corpus.parts}
    )


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("learner", [NosySpan, NosyToken])
@pytest.mark.usefixtures("one_thread")
def test_hidden_labels_change_nothing(learner: type[Nosy], protocol: str, encoder: str) -> None:
    """Each step is learned from the corpus and from one with every hidden label poisoned, once the split is fixed."""
    clean, spoilt = make(learner, encoder), make(learner, encoder)
    split = make_split(CORPUS, PROTOCOLS[protocol])
    for step in range(1, split.n_steps + 1):
        labelled, so_far = set(split.tasks[step - 1].types), set(split.types(step))
        dev = so_far if split.protocol.dev_labels == "seen" else labelled
        # What no epoch is chosen by may be wrong altogether.
        allowed = {"train": labelled, "dev": set() if split.protocol.selection == "last" else dev, "test": set()}
        records = [
            trainer.learn(split.step_data(corpus, step))
            for trainer, corpus in ((clean, CORPUS), (spoilt, poisoned(CORPUS, allowed)))
        ]
        one, other = clean.learner.state_dict(), spoilt.learner.state_dict()
        assert one.keys() == other.keys()
        assert [name for name in one if not torch.equal(one[name], other[name])] == []
        first, second = ({k: v for k, v in record.items() if not k.endswith("seconds")} for record in records)
        assert first == second
        assert Nosy.types_seen == labelled
        Nosy.types_seen.clear()
