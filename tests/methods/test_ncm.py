"""Nearest means, linear discriminants and k-means on a frozen encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cl_ner_bench import method_code, registry
from cl_ner_bench.learning.closed_form import clusters
from cl_ner_bench.testing.chain import CORPUS, step_data, trainer
from cl_ner_bench.testing.toy import NoEncoder


def test_centres_of_separate_clusters() -> None:
    torch.manual_seed(3)
    middles = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = torch.cat([m + 0.1 * torch.randn(30, 2) for m in middles])
    found = min((clusters(vectors, 3) for _ in range(5)), key=lambda c: float(torch.cdist(vectors, c).amin(1).sum()))
    assert torch.cdist(middles, found).amin(1).max() < 0.1
    assert len(clusters(vectors[:2], 3)) == 2
    assert len(clusters(vectors[:0], 3)) == 0


def made(name: str, **settings: Any) -> Any:
    (variant,) = registry.resolve([name])
    learner = method_code.load_class(variant.card)(NoEncoder(), {**variant.card.settings, **settings})
    learner.grow(("X",), lambda _: torch.Generator())
    learner.grown.append(("X",))
    learner.labelled = ("X",)
    learner.double()
    return learner


@pytest.mark.usefixtures("double")
def test_slda_is_linear_discriminant_analysis_with_equal_priors() -> None:
    """Shared covariance over n; the gain of a tag over O is the difference of both discriminants."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # takes a second

    torch.manual_seed(0)
    tags = torch.arange(3).repeat_interleave(40)
    words = torch.randn(120, 6) @ torch.randn(6, 6) + tags[:, None]
    learner = made("slda", shrinkage=0.0)
    learner.open(None, None, [])
    for part in torch.randperm(120).split(50):
        learner.add(words[part], tags[part])
    found = learner.scores(words)
    reference = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(words.numpy(), tags.numpy())
    expected = words.numpy() @ reference.coef_.T + reference.intercept_
    assert np.abs(found.numpy() - (expected - expected[:, :1])).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.usefixtures("double")
def test_ncm_is_the_cosine_with_means_and_with_the_nearest_centre_of_o() -> None:
    learner = made("ncm")
    learner.carried["sums"] = torch.zeros(3, 6)
    learner.carried["centres"] = torch.eye(6)[:2]
    learner.add(torch.eye(6)[[2, 2, 3, 4]] * 5, torch.tensor([1, 1, 2, 0]))
    scores = learner.scores(torch.eye(6)[[0, 2, 3]])
    torch.testing.assert_close(scores, torch.tensor([[0.0, -1, -1], [0, 1, 0], [0, 0, 1]]))


@pytest.mark.parametrize("method", ["ncm", "slda"])
def test_it_learns_without_training_and_forgets_little(method: str, encoder: str) -> None:
    t = trainer(method, encoder, **({"o_prototypes": 4} if method == "ncm" else {"shrinkage": 0.1}))
    before = {name: p.detach().clone() for name, p in t.learner.encoder.named_parameters()}
    for step in (1, 2):
        assert t.learn(step_data(step))["updates"] == 0
    assert all(torch.equal(p, before[name]) for name, p in t.learner.encoder.named_parameters())
    predicted = t.predict([s.only(()) for s in CORPUS.parts["test"]])
    for type, at_least in (("PER", 10), ("LOC", 8)):
        gold = [{m[:2] for m in s.mentions if m.type == type} for s in CORPUS.parts["test"]]
        pairs = zip(gold, predicted, strict=True)
        assert sum(bool(g & {p[:2] for p in ps if p.type == type}) for g, ps in pairs) >= at_least, type
    # I-tags, which no word ever had: their means are nowhere.
    assert {p.end - p.start for ps in predicted for p in ps} == {1}
