"""Ridge regression in closed form, the random features it runs on, and the order of spans."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cl_ner_bench.learning.closed_form import best_threshold, hold_out
from cl_ner_bench.learning.ridge import Rows, Sums
from cl_ner_bench.models.heads.random_features import RandomSpanHead
from cl_ner_bench.models.heads.span import span_count, span_index
from cl_ner_bench.testing.chain import CORPUS, chain, step_data, trainer

CPU = torch.device("cpu")


@pytest.mark.usefixtures("double")
def test_ridge_over_chunks_is_ridge_on_all() -> None:
    torch.manual_seed(0)
    features, targets, weights = torch.randn(50, 7), (torch.rand(50, 3) > 0.8).double(), torch.rand(50)
    sums = Sums(7, 3, CPU)
    for part in torch.randperm(50).split(11):
        sums.add(Rows(features[part], targets[part], weights[part], weights[part]))
    root = weights.sqrt()[:, None]
    x, y = (root * features).numpy(), (root * targets).numpy()
    ridge = 0.3 * np.trace(x.T @ x) / 7
    # Ridge is least squares on rows that are added: sqrt(ridge) * I, with targets 0.
    expected = np.linalg.lstsq(np.vstack([x, ridge**0.5 * np.eye(7)]), np.vstack([y, np.zeros((7, 3))]), rcond=None)[0]
    assert np.abs(sums.solve(0.3).numpy() - expected.T).max() < 1e-12


def test_rare_types_need_a_threshold() -> None:
    """With one positive row in a hundred, ridge scores never come near 0.5, however well they are ordered."""
    torch.manual_seed(0)
    n = 4000
    gold = torch.rand(n) < 0.01
    features = torch.relu(torch.randn(n, 60) + 0.8 * gold[:, None])
    ones = torch.ones(n)
    sums = Sums(60, 1, CPU)
    sums.add(Rows(features, gold[:, None].float(), ones, ones))
    scores = (features.double() @ sums.solve(1e-3).T)[:, 0]
    assert scores.max() < 0.5
    found = best_threshold(scores, gold, ones)
    assert found is not None
    threshold, f1 = found
    accepted = scores > threshold
    assert f1 == pytest.approx(2 * float((accepted & gold).sum() / (accepted.sum() + gold.sum())), abs=1e-6)
    assert f1 > 0.5
    for other in scores.quantile(torch.linspace(0.5, 1, 200).double()):
        accepted = scores > other
        assert 2 * float((accepted & gold).sum() / (accepted.sum() + gold.sum())) <= f1 + 1e-6


def test_thresholds_count_what_a_row_stands_for_and_split_no_tie() -> None:
    scores = torch.tensor([0.9, 0.8, 0.8, 0.1])
    gold = torch.tensor([True, True, False, False])
    once = torch.ones(4)
    assert best_threshold(scores, gold, once) == (pytest.approx(0.45), pytest.approx(0.8))
    many = torch.tensor([1.0, 1.0, 30.0, 1.0])
    assert best_threshold(scores, gold, many) == (pytest.approx(0.85), pytest.approx(2 / 3))
    assert best_threshold(scores, gold & False, once) is None


def test_a_fifth_is_held_out() -> None:
    rest, held = hold_out(23)
    assert (len(rest), len(held)) == (19, 4)
    assert sorted(rest + held) == list(range(23))
    assert hold_out(1) == ([0], [])


@pytest.mark.parametrize("width", [0, 2])
def test_span_features_are_those_of_first_and_last_word_in_the_order_of_spans(width: int) -> None:
    torch.manual_seed(0)
    head = RandomSpanHead(6, 8, width)
    head.grow(("A", "B"), lambda _: torch.Generator())
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn_like(p))
    lengths, words = [3, 1, 4], torch.randn(8, 6)
    logits = head(words, lengths)
    assert len(logits) == sum(span_count(n, width) for n in lengths)
    first, row = 0, 0
    for n in lengths:
        for start in range(n):
            for end in range(start + 1, min(n, start + (width or n)) + 1):
                ends = torch.cat([words[first + start], words[first + end - 1]])
                phi = torch.relu(torch.cat([head.random[0], head.random[1]], dim=1) @ ends)
                expected = head.weight @ phi + head.bias
                torch.testing.assert_close(logits[row + span_index(start, end, n, width)], expected)
        first, row = first + n, row + span_count(n, width)


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_a_new_learner_has_the_same_random_features_without_storing_them(architecture: str, encoder: str) -> None:
    one, two = (trainer(f"analytic-{architecture}", encoder) for _ in range(2))
    assert torch.equal(one.learner.head.random, two.learner.head.random)
    assert not any("random" in name for name in one.learner.state_dict())


def found(made: object, type: str) -> int:
    predicted = made.predict([s.only(()) for s in CORPUS.parts["test"]])  # type: ignore[attr-defined]
    gold = [{m[:2] for m in s.mentions if m.type == type} for s in CORPUS.parts["test"]]
    return sum(bool(spans & {p[:2] for p in ps if p.type == type}) for spans, ps in zip(gold, predicted, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["token", "span"])
def test_it_learns_without_training_and_forgets_little(architecture: str, encoder: str) -> None:
    made = trainer(f"analytic-{architecture}", encoder)
    before = {name: p.detach().clone() for name, p in made.learner.encoder.named_parameters()}
    right = []
    for step in (1, 2):
        assert made.learn(step_data(step))["updates"] == 0
        right.append(found(made, "PER"))
    assert all(torch.equal(p, before[name]) for name, p in made.learner.encoder.named_parameters())
    assert min(right) >= 10, "of 12 sentences with a name"
    assert found(made, "LOC") >= 8


@pytest.mark.slow
def test_old_columns_of_spans_never_change(encoder: str) -> None:
    one, two = (chain("analytic-span", encoder, steps).learner.head for steps in (1, 2))
    assert torch.equal(one.blocks[0].weight, two.blocks[0].weight)
    assert torch.equal(one.blocks[0].bias, two.blocks[0].bias)
