"""AddNER against values of SpanKL's code (Qznan/SpanKL@4caac8e, modules.py and train_clner.py)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cl_ner_bench.methods.addner import AddNER, JointAddNER
from torch import Tensor

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.testing.toy import TYPES, NoEncoder

ORACLE: dict[str, Any] = json.loads(Path(__file__).with_name("addner.json").read_text())
LENGTHS = (5, 4)  # padded to 5 words in the stored arrays
NEW = ([Mention(1, 3, "Z")], [Mention(2, 3, "Z")])
ALL = ([*NEW[0], Mention(3, 4, "X")], [Mention(0, 1, "Y"), *NEW[1]])


def words(name: str, sentences: Sequence[int] = (0, 1)) -> Tensor:
    """Return an array of the oracle without its padding."""
    rows = [row for s in sentences for row in ORACLE[name][s][: LENGTHS[s]]]
    return torch.tensor(rows, dtype=torch.float64)


def batch(mentions: Sequence[Sequence[Mention]], sentences: Sequence[int] = (0, 1)) -> Batch:
    none = Tokens(np.empty(0, np.int32), (), np.empty(0, np.int32))
    given = [Sentence(s, ("w",) * LENGTHS[s], tuple(mentions[s])) for s in sentences]
    return Batch(tuple(Example(i, sentence, none) for i, sentence in enumerate(given)))


def made(
    method: type[Learner] = AddNER,
    labelled: Sequence[str] = ("Z",),
    types: Sequence[str] = TYPES,
    compat: bool = False,
) -> Learner:
    learner = method(NoEncoder(), {"kd_weight": 1.0, "compat": compat})  # type: ignore[arg-type]
    for type in types:
        learner.grow((type,), lambda _: torch.Generator().manual_seed(0))
    learner.labelled, learner.n_old = tuple(labelled), len(types) - 1
    return learner


def losses(learner: Learner, of: Batch, student: Tensor, teacher: Tensor | None) -> dict[str, float]:
    told = None if teacher is None else Output(teacher)
    return {name: value.item() for name, value in learner.losses(of, Output(student), told).items()}


@pytest.mark.parametrize(
    ("compat", "ce", "kd"), [(False, 0.991945459, 0.046875129), (True, 0.8927509132, 0.0421876159)]
)
def test_third_task(compat: bool, ce: float, kd: float) -> None:
    student, teacher = words("student_logits"), words("teacher_logits")[:, :6]
    found = losses(made(compat=compat), batch(NEW), student, teacher)
    assert found == pytest.approx({"ce": ce, "kd": kd}, abs=1e-6)


def test_a_sentence_without_padding_as_released() -> None:
    found = losses(made(), batch(NEW, [1]), words("student_logits", [1]), words("teacher_logits", [1])[:, :6])
    assert found == pytest.approx({"ce": 0.89638346, "kd": 0.0644366552}, abs=1e-6)


def test_labels_of_other_heads_are_o() -> None:
    student, teacher = words("student_logits"), words("teacher_logits")[:, :6]
    assert losses(made(), batch(ALL), student, teacher) == losses(made(), batch(NEW), student, teacher)


@pytest.mark.parametrize(("compat", "divisor"), [(True, 10), (False, 9)])
def test_first_task(compat: bool, divisor: int) -> None:
    """The released mean runs over ten positions, one of them padding."""
    learner = made(labelled=("X",), types=("X",), compat=compat)
    labels = [[mention._replace(type="X") for mention in sentence] for sentence in NEW]
    found = losses(learner, batch(labels), words("student_logits")[:, :3], None)
    assert found == {"ce": pytest.approx(1.2613450113 * 10 / divisor, abs=1e-6)}


@pytest.mark.parametrize(("compat", "divisor"), [(True, 10), (False, 9)])
def test_joint(compat: bool, divisor: int) -> None:
    learner = made(JointAddNER, labelled=TYPES, compat=compat)
    found = losses(learner, batch(ALL), words("student_logits"), None)
    assert found == {"ce": pytest.approx(1.2321593652 * 10 / divisor, abs=1e-6)}


def test_heads_of_types_that_come_back_learn_again() -> None:
    logits, old = words("student_logits"), words("teacher_logits")
    learner = made(labelled=("X",))
    found = losses(learner, batch(([Mention(3, 4, "X")], [])), logits, old)
    tags = torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 0])
    assert found["ce"] == pytest.approx(torch.nn.functional.cross_entropy(logits[:, :3], tags).item())
    kl = [
        torch.nn.functional.kl_div(
            logits[:, h].log_softmax(1), old[:, h].log_softmax(1), log_target=True, reduction="batchmean"
        )
        for h in (slice(3, 6), slice(6, 9))
    ]
    assert found["kd"] == pytest.approx(torch.stack(kl).mean().item())


def test_types_of_a_head_that_do_not_come_back_with_the_others_are_not_pushed_down() -> None:
    """A head of X and Y, of which X alone is labelled: a word without a label is O or of Y."""
    logits = words("student_logits")[:, :5]
    learner = AddNER(NoEncoder(), {"kd_weight": 1.0, "compat": False})  # type: ignore[arg-type]
    learner.grow(("X", "Y"), lambda _: torch.Generator().manual_seed(0))
    learner.labelled, learner.n_old = ("X",), 2
    p = logits.softmax(1)
    terms = [p[word, 1] if word == 3 else p[word, [0, 3, 4]].sum() for word in range(9)]
    found = losses(learner, batch(([Mention(3, 4, "X")], [])), logits, logits)
    assert found == {"ce": pytest.approx(-torch.stack(terms).log().mean().item())}


def tags_of(mentions: Sequence[tuple[int, int, str, float]], length: int) -> list[str]:
    tags = ["O"] * length
    for start, end, type, _ in mentions:
        tags[start:end] = [f"B-{type}", *[f"I-{type}"] * (end - start - 1)]
    return tags


def test_merging() -> None:
    logits = torch.tensor(ORACLE["merge_logits"], dtype=torch.float64)
    [found] = made().decode(Output(logits), [16], TYPES, False)
    assert tags_of(found, 16) == ORACLE["merged"]
    wanted, both = ("Z",), made().decode(Output(logits), [5, 11], TYPES, False)
    assert [p.type for p in made().decode(Output(logits), [16], wanted, False)[0]] == ["Z"]
    assert [tags_of(p, n) for p, n in zip(both, (5, 11), strict=True)] == [ORACLE["merged"][:5], ORACLE["merged"][5:]]


def test_a_mention_does_not_go_on_in_the_next_sentence() -> None:
    logits = torch.tensor([[0.0, 9, 0], [0, 0, 9]]).repeat(1, 3)
    assert [len(found) for found in made().decode(Output(logits), [1, 1], TYPES, False)] == [1, 0]


def test_scores_are_products_of_the_probabilities_in_the_head() -> None:
    logits = torch.tensor([[0.0, 2, 0, 1, 0, 0], [0, 0, 3, 0, 0, 0]])
    [[found]] = made(types=("X", "Y")).decode(Output(logits), [2], ("X", "Y"), False)
    p = logits[:, :3].double().softmax(1)
    assert found[:3] == (0, 2, "X")
    assert found.score == pytest.approx((p[0, 1] * p[1, 2]).item())


def test_each_head_starts_from_an_o_of_its_own() -> None:
    head = AddNER(NoEncoder(), {}).head  # type: ignore[arg-type]
    seeds = {"O/X": 1, "O/Y": 2, "X": 3, "Y": 4}
    for type in ("X", "Y"):
        head.grow((type,), lambda name: torch.Generator().manual_seed(seeds[name]))
    assert head.n_columns == 6
    assert not torch.equal(head.weight[0], head.weight[3])
