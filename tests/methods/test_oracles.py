"""Losses and decisions of methods against values of the authors' own functions, or of their formulas, on toy inputs.

Four sentences of 18 words, six hidden values, old types X and Y, new type Z; the first two sentences are the batch.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Output, Step
from cl_ner_bench.testing.toy import EXAMPLES, N_OLD, NO_TOKENS, TOY, TYPES, batch, learner, losses, teacher, tensor


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


CE = 1.0151683975  # mean over the words of the new type
KL = 0.3826176107  # mean over the others, temperature 1


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("extendner", {}, {"ce": CE, "kd": KL}),
        ("extendner-cfner", {}, {"ce": CE, "kd": 0.3822990861}),
        ("extendner-codebase", {}, {"ce": CE, "kd": 2 * KL}),
        ("selftrain", {}, {"ce": 1.1685293011}),
        ("lucir", {}, {"ce": CE, "features": 79.0569415042 * 0.8716184974, "margin": 0.717515167}),
        ("podnet", {}, {"nca": 1.109567977, "flat": 0.231950413, "spatial": 0.263502653}),
        ("dld", {}, {"ce": CE, "kd": 2 * KL, "positive": 2 * 0.046000862, "negative": 2 * 0.080448044}),
        ("rdp", {}, {"ce": 1.168529301, "soft": 0.3 * 0.314615861, "entropy": 0.1 * 0.225325228, "kd": 2 * KL}),
    ],
)
def test_losses(name: str, settings: dict[str, Any], expected: dict[str, float]) -> None:
    found = losses(learner(name, **settings))
    if name == "lucir":
        expected["features"] = 13.3302042324 - CE - 0.717515167
    assert found == pytest.approx(expected, abs=1e-6)


def test_selftrain_and_rdp_take_these_pseudo_labels() -> None:
    expected = [0, 5, 6, 1, 1, 3, 3, 5, 1]
    for name in ("selftrain", "rdp"):
        assert learner(name).targets(batch(), teacher(batch())).tolist() == expected


def test_confident_selftraining_ignores_the_rest() -> None:
    confidence = teacher(batch()).logits.softmax(1).amax(1)
    targets = learner("selftrain-confident", confidence=0.45).targets(batch(), teacher(batch()))
    ignored = (targets == -100).tolist()
    gold = batch().tag_targets(TYPES).tolist()
    assert ignored == [tag == 0 and p < 0.45 for tag, p in zip(gold, confidence.tolist(), strict=True)]
    assert any(ignored)
    assert not all(ignored)


CPFD_TAGS = {  # of each sentence; -100: refused
    0: [-100, 5, 6, 1, -100],
    1: [-100, -100, 5, -100],
    2: [5, 6, 3, -100],
    3: [0, -100, 4, 5, 1],
}


def test_cpfd_accepts_what_the_release_accepts() -> None:
    made = learner("cpfd")
    for i, expected in CPFD_TAGS.items():
        assert made.targets(batch(i), teacher(batch(i))).tolist() == expected


@pytest.mark.parametrize(
    ("positions", "ce", "kl", "attention"),
    [
        ((0,), 0.3453489544, 0.446769044, 0.001885698),
        ((1,), 0.0, 0.318466177, 0.001473506),
        ((0, 1), 0.2590117158, KL, None),  # released attention runs over padding
    ],
)
def test_cpfd(positions: tuple[int, ...], ce: float, kl: float, attention: float | None) -> None:
    found, weight = losses(learner("cpfd"), *positions), 2 * math.sqrt(4 / 2)
    assert found["ce"] == pytest.approx(ce, abs=1e-6)
    assert found["kd"] == pytest.approx(weight * kl, abs=1e-6)
    if attention is not None:
        assert found["attention"] == pytest.approx(weight * attention, abs=1e-6)


def test_cpfd_min_factor() -> None:
    assert losses(learner("cpfd", min_factor=0.5))["ce"] == pytest.approx(0.5796903052, abs=1e-6)


def test_is3() -> None:
    made = learner("is3")
    for tag, values in TOY["is3_prototypes"].items():
        made.carried[tag] = torch.tensor(values)
    of = batch()
    words = tensor("student_words").requires_grad_()
    output = Output(words @ made.head.weight.T, words)
    found = made.losses(of, output, teacher(of))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"ce": CE, "kd": 2 * KL, "prototypes": 0.1 * 1.629874542}, abs=1e-5
    )
    found["ce"].backward(retain_graph=True)
    old = made.head.blocks[2].weight.grad  # B-Y, I-Y
    made.zero_grad()
    torch.nn.functional.cross_entropy((words @ made.head.weight.T)[[1, 2, 7]], torch.tensor([5, 6, 5])).backward()
    assert torch.allclose(old, 0.6 * made.head.blocks[2].weight.grad)


# Values of baselines by their definitions: student (1, 0, 2, -1), teacher (.5, 1.5), old columns O and one tag


def _one_word(name: str, label: int) -> dict[str, float]:
    made = learner(name)
    made.n_old, made.head.grown = 1, []  # two old columns are no whole type: the formulas alone are meant
    of = Batch((Example(0, Sentence(0, ("w",)), NO_TOKENS),))
    target = torch.tensor([label])
    open_columns = torch.tensor([[True, True, False, False]])
    of_batch = type(
        "Toy", (), {"tag_targets": lambda *_: target, "open_tags": lambda *_: open_columns, "examples": of.examples}
    )
    output, told = Output(torch.tensor([[1.0, 0.0, 2.0, -1.0]])), Output(torch.tensor([[0.5, 1.5]]))
    return {key: value.item() for key, value in made.losses(of_batch(), output, told).items()}  # type: ignore[arg-type]


def test_mib() -> None:
    assert _one_word("mib", 0) == pytest.approx({"ce": 1.126928, "kd": 0.904222}, abs=1e-6)
    assert _one_word("mib", 2) == pytest.approx({"ce": 0.440190, "kd": 0.904222}, abs=1e-6)


def test_mib_shares_the_probability_of_o_with_new_tags() -> None:
    made = learner("mib")
    before = made.head.weight.detach()[:N_OLD], made.head.bias.detach()[:N_OLD]
    train = tuple(e.sentence for e in EXAMPLES)
    made.begin_step(Step(3, TYPES, ("Z",), train, (), ("Z",)))
    words = tensor("student_words")
    p_before = (words @ before[0].T + before[1]).softmax(1)
    p_after = (words @ made.head.weight.T + made.head.bias).softmax(1).detach()
    assert torch.allclose(p_after[:, 1:N_OLD], p_before[:, 1:])
    assert torch.allclose(p_after[:, [0]].expand(-1, 2), p_after[:, N_OLD:])


def test_lwf() -> None:
    found = _one_word("lwf", 0)
    assert found == pytest.approx({"ce": 1.440190, "kd": 0.489837}, abs=1e-6)
