"""Fine-tuning against values of CFNER's code (zzz47zzz/CFNER@3fcb94e, src/trainer.py)."""

from __future__ import annotations

import pytest
import torch

from cl_ner_bench.learning.learner import Output
from cl_ner_bench.testing.toy import BATCH_WORDS, batch, learner, tensor


def test_loss_and_gradient() -> None:
    logits = tensor("student_logits")[:BATCH_WORDS].requires_grad_()
    loss = learner("finetune-token").losses(batch(), Output(logits), None)["ce"]
    loss.backward()
    assert loss.item() == pytest.approx(1.6320177455, abs=1e-6)
    expected = {
        1: [0.006239085, 0.0073081601, 0.0010078472, 0.009880682, 0.0259217541, -0.0552597698, 0.0049022415],
        8: [-0.0850390989, 0.0374212008, 0.002434892, 0.0059466938, 0.0111265752, 0.01244935, 0.0156603871],
    }
    assert logits.grad is not None
    for word, row in expected.items():
        assert logits.grad[word].tolist() == pytest.approx(row, abs=1e-6)
    assert torch.allclose(logits.grad.sum(1), torch.zeros(BATCH_WORDS, dtype=torch.float64))
