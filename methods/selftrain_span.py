"""Confident self-training of spans: the previous model's clear answers are labels of the old columns."""

CARD = {
    "selftrain-span": {
        "label": "Self-Training (span)",
        "class": "ConfidentSpans",
        "architecture": "span",
        "first_step": "base",
        "settings": {"doubt": 0.1, "pseudo_weight": 1.0},
        "search": {"pseudo_weight": {"times": [0.1, 10]}},
        "help": {
            "doubt": "the previous model is sure of a span if its probability is at most this far from 0 or 1",
            "pseudo_weight": "weight of the loss on the columns of old types",
        },
        "identities": {"spankl-nokd": {"pseudo_weight": 0.0}},
        "status": "baseline",
        "summary": "BCE on the new columns, and on old columns where the previous model is sure.",
        "stores": "one copy of the model",
        "deviations": "This is the span twin of selftrain-confident. The doubt 0.1 and the weight 1 were not tuned. "
        "Expected: near spankl, with harder labels.",
    }
}

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, SpanLearner


class ConfidentSpans(SpanLearner):
    """BCE(labelled types) + pseudo_weight * BCE(old types) where p_T <= doubt (target 0) or p_T >= 1 - doubt (1).

    Both are means over types, sums over spans, means over sentences, as in SpanKL.
    """

    needs = frozenset({"teacher"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = {"bce": self.bce(batch, output, self.labelled)}
        if teacher is not None and self.unlabelled:
            columns = self.columns(self.unlabelled)
            told = teacher.logits[:, columns].sigmoid()
            sure = torch.minimum(told, 1 - told) <= self.settings["doubt"]
            bce = F.binary_cross_entropy_with_logits(output.logits[:, columns], (told > 0.5).to(told), reduction="none")
            losses["pseudo"] = self.settings["pseudo_weight"] * (bce * sure).sum(0).mean() / len(batch.examples)
        return losses
