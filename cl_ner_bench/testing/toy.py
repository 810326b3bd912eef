"""The toy of the methods' oracles: word vectors, logits and heads of a student and a teacher, for which the values of
the authors' own functions are known.

It has four sentences of 18 words in all, hidden size 6, old types X and Y, and new type Z, all in float64. The first
two sentences are the batch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Learner, Output, Step
from cl_ner_bench.models.encoders.tokeniser import Tokens

TOY: dict[str, Any] = json.loads(Path(__file__).with_name("toy.json").read_text())
TYPES, N_OLD = ("X", "Y", "Z"), 5
BATCH, BATCH_WORDS, WINDOWS = (0, 1), 9, (7, 6)


class NoEncoder(nn.Module):
    """An encoder without parameters. It has only the size of the toy's given word vectors."""

    hidden_size = 6


def tensor(name: str) -> Tensor:
    """Return an array of the toy in float64."""
    return torch.tensor(TOY[name], dtype=torch.float64)


def sentence(i: int) -> Sentence:
    """Return sentence ``i`` with the mentions of the new type."""
    tags = TOY["corpus_tags"][i]
    starts = [k for k, tag in enumerate(tags) if tag % 2]
    ends = [next((j for j in range(k + 1, len(tags)) if tags[j] != tags[k] + 1), len(tags)) for k in starts]
    mentions = tuple(Mention(k, end, TYPES[tags[k] // 2]) for k, end in zip(starts, ends, strict=True))
    return Sentence(i, tuple(f"w{k}" for k in range(len(tags))), mentions)


NO_TOKENS = Tokens(np.empty(0, np.int32), (), np.empty(0, np.int32))
EXAMPLES = [Example(i, sentence(i), NO_TOKENS) for i in range(4)]


def batch(*positions: int) -> Batch:
    """Return the sentences at ``positions`` (default: the batch)."""
    return Batch(tuple(EXAMPLES[i] for i in positions or BATCH))


def rows(positions: tuple[int, ...]) -> list[int]:
    """Return the places of the sentences' words among all 18 words."""
    lengths = [len(tags) for tags in TOY["corpus_tags"]]
    return [k for i in positions for k in range(sum(lengths[:i]), sum(lengths[: i + 1]))]


def attentions(name: str, positions: tuple[int, ...]) -> tuple[tuple[Tensor, ...], ...]:
    """Return the attention maps of sentences by layer, without padding, as ``Output.attentions``."""
    return tuple(
        tuple(torch.tensor(layer[i], dtype=torch.float64)[:, : WINDOWS[i], : WINDOWS[i]] for i in positions)
        for layer in TOY[name]
    )


def teacher(of: Batch) -> Output:
    """Return the teacher's output; layers and attentions for sentences of the batch only."""
    positions = tuple(e.index for e in of.examples)
    at = rows(positions)
    in_batch = set(positions) <= set(BATCH)
    layers = tuple(tensor("teacher_layers")[:, at]) if in_batch else ()
    maps = attentions("teacher_attention", positions) if in_batch else ()
    return Output(tensor("teacher_logits")[at], tensor("teacher_words")[at], layers, maps)


def student(of: Batch) -> Output:
    """Return the student's output."""
    positions = tuple(e.index for e in of.examples)
    at = rows(positions)
    maps = attentions("student_attention", positions)
    return Output(
        tensor("student_logits")[at], tensor("student_words")[at], tuple(tensor("student_layers")[:, at]), maps
    )


def learner(name: str, **settings: Any) -> Learner:
    """Return the learner of a method in its third step, with the head of the toy's student."""
    card = registry.methods()[name]
    made = method_code.load_class(card)(NoEncoder(), {**card.settings, **settings})
    for types in (("X",), ("Y",), ("Z",)):
        made.grow(types, lambda _: torch.Generator().manual_seed(0))
        made.grown.append(types)
    made.double()
    tensors = iter(tensor("teacher_head"))
    with torch.no_grad():
        for block in list(made.head.blocks)[:-1]:
            for row in block.weight:
                row.copy_(next(tensors))
            if block.bias is not None:
                block.bias.zero_()
    made.step, made.labelled, made.n_old = 3, ("Z",), 2
    train = tuple(e.sentence for e in EXAMPLES)
    step = Step(3, TYPES, ("Z",), train, (), ("Z",), teacher=teacher, examples=EXAMPLES)
    made.carried.double()
    if name != "mib":
        made.begin_step(step)
    head = iter(tensor("student_head"))
    with torch.no_grad():
        for block in made.head.blocks:
            for row in block.weight:
                row.copy_(next(head))
            if block.bias is not None:
                block.bias.zero_()
    return made


def gradients(made: Learner, *positions: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return the losses of a student whose logits follow from its word vectors, and the gradients of their sum.

    There are gradients of ``words``, ``logits``, ``layers``, and of the head's ``weight`` and ``bias``; unused tensors
    have zeros.
    """
    of = batch(*positions)
    given = student(of)
    assert given.words is not None
    words, layers = given.words.requires_grad_(), torch.stack(given.layers).requires_grad_()
    logits = made.head(words, of.lengths)
    found = made.losses(of, Output(logits, words, tuple(layers), given.attentions), teacher(of))
    blocks = list(made.head.blocks)
    leaves = [words, logits, layers, *(b.weight for b in blocks), *(b.bias for b in blocks)]
    values = torch.autograd.grad(torch.stack(list(found.values())).sum(), leaves, materialize_grads=True)
    weight, bias = torch.cat(values[3 : 3 + len(blocks)]), torch.cat(values[3 + len(blocks) :])
    named = {"words": values[0], "logits": values[1], "layers": values[2], "weight": weight, "bias": bias}
    return {name: value.item() for name, value in found.items()}, named


def losses(made: Learner, *positions: int) -> dict[str, float]:
    """Return the losses of the sentences at ``positions`` (default: the batch) by name."""
    of = batch(*positions)
    return {name: value.item() for name, value in made.losses(of, student(of), teacher(of)).items()}
