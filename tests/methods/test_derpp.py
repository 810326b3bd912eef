"""DER++: its losses on known logits, and what it stores.

Logits and values: the code base of arXiv 2312.07887 (models/DERpp.py at cc2bf9d), split after the new samples as its
text means, not at half of the joint batch.
"""

from __future__ import annotations

import pytest
import torch

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Output
from cl_ner_bench.learning.memory import Exemplar, Memory
from cl_ner_bench.testing.chain import chain, step_data
from cl_ner_bench.testing.toy import NO_TOKENS, NoEncoder

STUDENT = [
    [1.237722, 0.173059, 0.322567, 0.118988, -0.623208, -0.005719, 0.085389],
    [3.369909, 0.777931, 0.469994, 1.643675, 1.830494, 0.887758, 0.885209],
    [0.339867, 0.498025, -1.48315, 0.799615, 1.764116, 2.531727, 0.098726],
    [-0.892197, 1.91345, -0.851919, -0.492243, 0.933557, -0.275063, 2.190528],
    [1.034294, 0.049313, -0.525562, 0.168537, -0.136905, 0.677411, -0.609782],
    [0.33061, -0.468303, 0.590282, 3.121755, 2.100292, 1.370209, 0.046432],
]
STORED = [
    [1.544635, 0.126218, -0.346678, 0.184448, 0.451066],
    [1.234325, -0.36925, 0.938833, 2.405437, 1.477007],
]


@pytest.mark.usefixtures("double")
def test_losses() -> None:
    """Four new words tagged B-Z I-Z B-Z I-Z, two remembered ones tagged B-X and B-Y."""
    (variant,) = registry.resolve(["derpp-token"])
    made = method_code.load_class(variant.card)(NoEncoder(), variant.card.settings)
    for types in (("X",), ("Y",), ("Z",)):
        made.grow(types, lambda _: torch.Generator().manual_seed(0))
    made.labelled, made.n_old = ("Z",), 2
    new = Sentence(0, tuple("abcd"), (Mention(0, 2, "Z"), Mention(2, 4, "Z")))
    old = Sentence(7, tuple("ef"), (Mention(0, 1, "X"), Mention(1, 2, "Y")))
    made.memory = Memory([Exemplar(7, ("X", "Y"))])
    made.memory.load([Example(0, old, NO_TOKENS)], torch.device("cpu"))
    made.carried["rows.7"], made.carried["logits.7"] = torch.arange(2), torch.tensor(STORED)
    logits = torch.tensor(STUDENT)
    made.forward = lambda batch: Output(logits[4:])
    found = made.losses(Batch((Example(0, new, NO_TOKENS),)), Output(logits[:4]), None)
    assert sum(value.item() for value in found.values()) == pytest.approx(2.504327244, abs=1e-6)


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_logits_are_those_after_the_step_in_half_precision(architecture: str, encoder: str) -> None:
    made = chain(f"derpp-{architecture}", encoder, 1, per_type=3, stored_spans=8)
    learner = made.learner
    ids = [exemplar.id for exemplar in learner.memory.exemplars]
    assert sorted(learner.carried) == sorted(f"{kind}.{id}" for kind in ("logits", "rows") for id in ids)
    for position, sentence in enumerate(step_data(1).train):
        if sentence.id in ids:
            examples = made._examples([sentence], "train")
            (pair,) = learner.outputs([Batch(tuple(examples))])
            stored, rows = learner.carried[f"logits.{sentence.id}"], learner.carried[f"rows.{sentence.id}"]
            assert stored.dtype == torch.half
            assert len(rows) == (len(sentence.words) if architecture == "token" else 8), position
            assert len(set(rows.tolist())) == len(rows)
            torch.testing.assert_close(stored.float(), pair[1].logits[rows], atol=2e-3, rtol=2e-3)
            if architecture == "span":  # the four with the highest logits are among them
                assert set(pair[1].logits.amax(1).topk(4).indices.tolist()) <= set(rows.tolist())


def test_what_a_reservoir_forgets_is_forgotten_altogether(encoder: str) -> None:
    learner = chain("derpp-token", encoder, 3, per_type=2, exemplar_choice="reservoir").learner
    ids = {exemplar.id for exemplar in learner.memory.exemplars}
    assert {int(name.partition(".")[2]) for name in learner.carried if name.startswith("logits.")} == ids
    assert len(ids) == 6
