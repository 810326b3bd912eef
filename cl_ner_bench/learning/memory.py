"""Sentences that a method remembers from earlier steps, each with the types that were labelled in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Batch, Example

Recall = Callable[[int], Sentence]
"""Returns the train sentence with a given id, with the labels of all types."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A remembered train sentence: its id, and the types that were labelled when it was learned."""

    id: int
    labelled: tuple[str, ...]


class Memory:
    """The exemplars of a learner. A model's files hold their ids, never their text.

    A word without a label is certainly of none of the types labelled in its exemplar, but it may be of any other type.
    So losses on exemplars must leave all other types open (``Learner.open_loss``).
    """

    def __init__(self, exemplars: Iterable[Exemplar] = ()) -> None:
        self.exemplars = list(exemplars)
        self._examples: list[Example] = []
        self._device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.exemplars)

    def add(self, ids: Iterable[int], labelled: Sequence[str]) -> None:
        """Remember sentences in which ``labelled`` were labelled; a known sentence gets these types in addition."""
        known = {exemplar.id: i for i, exemplar in enumerate(self.exemplars)}
        for id in ids:
            if (i := known.get(id)) is None:
                self.exemplars.append(Exemplar(id, tuple(labelled)))
            else:
                types = dict.fromkeys((*self.exemplars[i].labelled, *labelled))
                self.exemplars[i] = Exemplar(id, tuple(types))

    def sentences(self, recall: Recall) -> list[Sentence]:
        """Return the remembered sentences, each with the mentions of the types that were labelled in it."""
        return [recall(exemplar.id).only(exemplar.labelled) for exemplar in self.exemplars]

    def load(self, examples: Iterable[Example], device: torch.device) -> None:
        """Supply the tokenised exemplars for a step, in the order of ``exemplars``."""
        pairs = zip(examples, self.exemplars, strict=True)
        self._examples = [replace(example, labelled=exemplar.labelled) for example, exemplar in pairs]
        self._device = device

    def relabel(self, examples: Iterable[Example]) -> None:
        """Replace the tokenised exemplars of a step, in the same order, to change mentions or labelled types."""
        self._examples = list(examples)

    def draw(self, size: int) -> Batch | None:
        """Return up to ``size`` different exemplars, drawn from torch's global stream; None if there are none."""
        if not self._examples:
            return None
        chosen = torch.randperm(len(self._examples))[:size].tolist()
        return self.batch(chosen)

    def batch(self, positions: Iterable[int]) -> Batch:
        """Return the exemplars at ``positions`` as a batch."""
        return Batch(tuple(self._examples[i] for i in positions), self._device)
