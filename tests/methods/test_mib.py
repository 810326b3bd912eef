"""MiB by its definition, for a student (1, 0, 2, -1) and a teacher (.5, 1.5) with the old columns O and one tag."""

from __future__ import annotations

import pytest
import torch

from cl_ner_bench.learning.learner import Output, Step
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.testing.toy import EXAMPLES, N_OLD, TYPES, learner, tensor

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize(("label", "ce"), [(0, 1.126928), (2, 0.440190)])
def test_losses(label: int, ce: float) -> None:
    made = learner("mib")
    made.n_old, made.head.grown = 1, []  # two old columns are no whole type: the formulas alone are meant
    open_columns = torch.tensor([[True, True, False, False]])
    of = type("Toy", (), {"tag_targets": lambda *_: torch.tensor([label]), "open_tags": lambda *_: open_columns})
    found = made.losses(of(), Output(torch.tensor([[1.0, 0.0, 2.0, -1.0]])), Output(torch.tensor([[0.5, 1.5]])))
    assert {name: value.item() for name, value in found.items()} == pytest.approx({"ce": ce, "kd": 0.904222}, abs=1e-6)


def test_new_tags_share_the_probability_of_o() -> None:
    made = learner("mib")
    before = made.head.weight.detach()[:N_OLD], made.head.bias.detach()[:N_OLD]
    train = tuple(e.sentence for e in EXAMPLES)
    made.begin_step(Step(3, TYPES, ("Z",), train, (), ("Z",)))
    words = tensor("student_words")
    p_before = (words @ before[0].T + before[1]).softmax(1)
    p_after = (words @ made.head.weight.T + made.head.bias).softmax(1).detach()
    assert torch.allclose(p_after[:, 1:N_OLD], p_before[:, 1:])
    assert torch.allclose(p_after[:, [0]].expand(-1, 2), p_after[:, N_OLD:])


def test_new_rows_of_a_cosine_head_stay_as_the_recipe_has_them() -> None:
    made = learner("mib")
    made.head = CosineHead(6, scale=1.0)
    for type in TYPES:
        made.head.grow((type,), lambda _: torch.Generator().manual_seed(0))
    before = made.head.weight.detach().clone()
    made.begin_step(Step(3, TYPES, ("Z",), tuple(e.sentence for e in EXAMPLES), (), ("Z",)))
    assert torch.equal(made.head.weight, before)
