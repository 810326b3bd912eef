"""TBCL against values of its formulas (arXiv 2608.31038, equations 7 to 11)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokeniser
from cl_ner_bench.testing.toy import BATCH_WORDS, NO_TOKENS, NoEncoder, batch, learner, losses, teacher, tensor

PSEUDO_LABELS = [0, 5, 6, 1, 1, 3, 3, 5, 1]
UNLABELLED = [0, 3, 4, 5, 6, 8]
COPY_LOGITS = [
    [2.695927, 0.874786, 0.648784, 1.357276, 1.237354, 0.422529, 0.624343],
    [0.46899, 0.695227, -1.062884, 0.476486, 1.111296, 1.86441, 0.205031],
    [-0.416575, 1.725846, -0.767906, -0.682214, 0.521549, -0.175087, 2.026306],
    [2.171801, 2.357261, -1.236008, 1.136369, 2.171895, 1.85985, 2.646942],
    [-0.37616, -0.570909, 0.456621, -0.05565, -0.235802, -0.717722, 0.105567],
    [0.136033, -0.672176, 0.279164, 2.586315, 1.969372, 1.319701, -0.010441],
    [0.943256, 0.706812, 0.172597, 1.763859, 1.681188, 0.899789, 1.156631],
    [-0.802054, -1.170981, 0.590478, 0.517585, -0.264274, 0.030945, -1.295165],
    [0.713149, 1.289564, -0.729292, -0.121786, 0.09695, -0.011576, 0.240078],
]


@pytest.fixture(autouse=True)
def _toy(double: None, monkeypatch: pytest.MonkeyPatch) -> None:
    set_tokeniser(monkeypatch, "[MASK]")


def set_tokeniser(monkeypatch: pytest.MonkeyPatch, mask: str | None) -> None:
    tokeniser = SimpleNamespace(mask=mask, tokenise=lambda sentences: [NO_TOKENS] * len(sentences))
    monkeypatch.setattr(NoEncoder, "tokeniser", tokeniser, raising=False)
    monkeypatch.setattr(NoEncoder, "info", SimpleNamespace(name="toy"), raising=False)


def made() -> Learner:
    method = learner("tbcl")
    method.forward = lambda _: Output(torch.tensor(COPY_LOGITS))  # type: ignore[method-assign]
    return method


def test_losses() -> None:
    found = losses(made())
    assert found["consistency"] == pytest.approx(0.01 * 0.052266205, abs=1e-8)
    assert found["ce"] == pytest.approx(1.1685293011, abs=1e-6)
    student, told, copy = tensor("student_logits")[:BATCH_WORDS], tensor("teacher_logits"), torch.tensor(COPY_LOGITS)
    told = told[:BATCH_WORDS].softmax(1)
    assert found["kd"] == pytest.approx(-2 * (told * student[:, :5].log_softmax(1)).sum(1).mean().item())
    labels = torch.tensor(PSEUDO_LABELS)[UNLABELLED]
    assert found["copy_ce"] == pytest.approx(F.cross_entropy(copy[UNLABELLED], labels).item())
    kd = -(told * copy[:, :5].log_softmax(1)).sum(1)[UNLABELLED].mean()
    assert found["copy_kd"] == pytest.approx(2 * kd.item())


def test_both_predictions_get_the_gradient_of_their_distance() -> None:
    method, copy = made(), torch.tensor(COPY_LOGITS, requires_grad=True)
    method.forward = lambda _: Output(copy)  # type: ignore[method-assign]
    student = tensor("student_logits")[:BATCH_WORDS].requires_grad_()
    method.losses(batch(), Output(student), teacher(batch()))["consistency"].backward()
    for gradient in (student.grad, copy.grad):
        assert gradient is not None
        assert gradient.any(1).nonzero()[:, 0].tolist() == [3, 4, 5, 6, 8]


def test_a_copy_has_a_mask_for_each_labelled_word() -> None:
    copies: Any = made().copies
    assert [copy.sentence.words for copy in copies] == [
        ("w0", "[MASK]", "[MASK]", "w3", "w4"),
        ("w0", "w1", "[MASK]", "w3"),
        ("[MASK]", "[MASK]", "w2", "w3"),
        ("w0", "w1", "w2", "[MASK]", "w4"),
    ]


def test_an_encoder_without_a_mask_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_tokeniser(monkeypatch, None)
    with pytest.raises(UserError, match="mask token, which the tokenizer of toy does not name"):
        learner("tbcl")


def test_a_tokeniser_reads_its_mask_as_one_sub_token() -> None:
    tokeniser = Tokeniser(encoder_info("minilm"), 512)
    assert tokeniser.mask == "[MASK]"
    (tokens,) = tokeniser.tokenise([("saw", "[MASK]", "again")])
    assert tokeniser.tokenizer.decode(tokens.ids.tolist(), skip_special_tokens=False) == "[CLS] saw [MASK] again [SEP]"
