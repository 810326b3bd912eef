"""The check that each sentence is predicted by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.testing.conformance.faults import Fault
from cl_ner_bench.testing.conformance.inputs import CORPUS, UNSEEN, batch
from cl_ner_bench.testing.conformance.lab import Lab

CLOSE = 1e-5
"""The largest difference of logits, relative or absolute, between two batches."""


def predictions(lab: Lab) -> str:
    """A sentence is predicted the same in any batch, in any order, with any padding."""
    learner, sentences = lab.last.learner, CORPUS.parts["test"][:8]
    together, _ = _computed(lab.last, sentences)
    backwards = _computed(lab.last, sentences[::-1])[0][::-1]
    by_itself = [_computed(lab.last, [s]) for s in sentences]
    alone = [logits for (logits,), _ in by_itself]
    for how, others in (("alone", alone), ("in a batch of another order", backwards)):
        for one, other in zip(together, others, strict=True):
            if one.shape != other.shape or not torch.allclose(one, other, rtol=CLOSE, atol=CLOSE):
                raise Fault(f"a sentence has other logits {how}: forward must treat each sentence by itself (lengths)")
    found = _spans(lab.last.predict(UNSEEN[:8]))
    backwards_found = _spans(lab.last.predict(UNSEEN[:8][::-1]))[::-1]
    alone_found = [_spans(decoded)[0] for _, decoded in by_itself]
    if not found == backwards_found == alone_found or not _decodes_by_sentence(learner, sentences):
        raise Fault("predictions depend on the batch: decode must treat each sentence by itself, and keep nothing")
    if wrong := {p[2] for ps in found for p in ps} - {*learner.head.types}:
        raise Fault(f"decode returns mentions of {min(wrong)!r}, which was not learned: return those of `types` alone")
    return ""


def _decodes_by_sentence(learner: Learner, sentences: Sequence[Sentence]) -> bool:
    """Return True if random logits are decoded the same in a batch and alone. (Learned logits may give no mention.)"""
    lengths, types = [len(s.words) for s in sentences], learner.head.types
    ((_, output),) = learner.outputs([batch(learner, sentences)])
    drawn = torch.randn(output.logits.shape, generator=torch.Generator().manual_seed(0))
    together = learner.decode(replace(output, logits=drawn), lengths, types, False)
    words = [None] * len(lengths) if output.words is None else output.words.split(lengths)
    parts = zip(drawn.split(learner.rows(lengths)), words, lengths, strict=True)
    alone = [learner.decode(replace(output, logits=rows, words=of), [n], types, False)[0] for rows, of, n in parts]
    return _spans(together) == _spans(alone)


def _spans(predicted: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [sorted(p[:3] for p in ps) for ps in predicted]


def _computed(trainer: Trainer, sentences: Sequence[Sentence]) -> tuple[list[Tensor], list[list[Prediction]]]:
    """Return the logits and the decoded mentions of each sentence of a batch."""
    learner, lengths = trainer.learner, [len(s.words) for s in sentences]
    ((_, output),) = learner.outputs([batch(learner, sentences)])
    rows = learner.rows(lengths)
    if (shape := tuple(output.logits.shape)) != (sum(rows), learner.n_columns):
        raise Fault(f"logits are {shape}, rows and n_columns say {(sum(rows), learner.n_columns)}: make them agree")
    return list(output.logits.split(rows)), learner.decode(output, lengths, learner.head.types, trainer.nested)
