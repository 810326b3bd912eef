"""MagMax and TIES: the merging of vectors, and that training goes on from what was learned."""

from __future__ import annotations

import pytest
import torch
from cl_ner_bench.methods.task_vectors import agreeing_mean, largest, trimmed

from cl_ner_bench.learning.pretrained import pretrained
from cl_ner_bench.testing.chain import chain, step_data, trainer

ONE, OTHER = torch.tensor([0.3, -0.5, 0.2, 0.0]), torch.tensor([-0.4, -0.1, 0.25, 0.6])


def test_merging() -> None:
    assert largest(ONE, OTHER).tolist() == pytest.approx([-0.4, -0.5, 0.25, 0.6], abs=1e-6)
    assert agreeing_mean(torch.stack([ONE, OTHER])).tolist() == pytest.approx([-0.4, -0.3, 0.225, 0.6], abs=1e-6)
    half = trimmed({"a": ONE, "b": torch.tensor([[2.0, -0.4]])}, 0.5)
    assert half["a"].tolist() == pytest.approx([0.0, -0.5, 0.0, 0.0])
    assert half["b"].tolist() == [[pytest.approx(2.0), pytest.approx(-0.4)]]
    assert torch.equal(trimmed({"a": ONE}, 1.0)["a"], ONE)


def test_magmax_is_the_largest_change_of_the_encoder_and_the_next_step_goes_on_from_what_was_learned(
    encoder: str,
) -> None:
    found = chain("magmax-token", encoder, vector_scale=0.5).learner
    one, two = (dict(chain("finetune-token", encoder, steps).learner.encoder.named_parameters()) for steps in (1, 2))
    start = pretrained(found.encoder)
    for name, p in found.encoder.named_parameters():
        torch.testing.assert_close(found.carried[f"learned.{name}"], two[name].detach())
        expected = start[name] + 0.5 * largest(one[name] - start[name], two[name] - start[name])
        torch.testing.assert_close(p.detach(), expected.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", ["magmax-span", "ties-token", "ties+extendner"])
def test_a_single_step_is_that_of_the_method_at_scale_1(method: str, encoder: str) -> None:
    whole = {"vector_scale": 1.0} | ({} if "magmax" in method else {"kept_share": 1.0})
    base = {"magmax-span": "finetune-span", "ties-token": "finetune-token"}.get(method, "extendner")
    plain = chain(base, encoder, 1).learner.state_dict()
    found = chain(method, encoder, 1, **whole).learner.state_dict()
    for name, values in plain.items():
        torch.testing.assert_close(found[name], values, atol=1e-6, rtol=1e-5)


def test_ties_keeps_a_share_of_each_vector(encoder: str) -> None:
    made = trainer("ties-token", encoder)
    for step in (1, 2):
        made.learn(step_data(step))
        carried = made.learner.carried
        vector = [carried[name] for name in carried if name.startswith(f"vector.{step}.")]
        kept = sum(int((v != 0).sum()) for v in vector) / sum(v.numel() for v in vector)
        assert 0 < kept <= 0.2 + 1e-3
