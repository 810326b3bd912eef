"""L2 towards earlier weights: of the previous step, or of the pretrained encoder."""

CARD = {
    "settings": {"weight": 0.1},
    "status": "baseline",
    "deviations": "The penalty holds the encoder only. The weight was not searched.",
    "variants": {
        "l2-previous-token": {
            "label": "L2 to previous (token)",
            "class": "PreviousToken",
            "architecture": "token",
            "summary": "Fine-tuning + weight * squared distance of the encoder to the previous step's.",
            "stores": "one copy of the encoder",
        },
        "l2-previous-span": {
            "label": "L2 to previous (span)",
            "class": "PreviousSpan",
            "architecture": "span",
            "summary": "Fine-tuning + weight * squared distance of the encoder to the previous step's.",
            "stores": "one copy of the encoder",
        },
        "l2-init-token": {
            "label": "L2 to pretrained (token)",
            "class": "PretrainedToken",
            "architecture": "token",
            "summary": "Fine-tuning + weight * squared distance of the encoder to the pretrained one.",
            "stores": "the pretrained encoder",
        },
        "l2-init-span": {
            "label": "L2 to pretrained (span)",
            "class": "PretrainedSpan",
            "architecture": "span",
            "summary": "Fine-tuning + weight * squared distance of the encoder to the pretrained one.",
            "stores": "the pretrained encoder",
        },
    },
}

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output, SpanLearner, Step, TagLearner


class L2(Learner):
    """The base loss + weight * sum over the encoder's parameters of (theta - anchor)^2."""

    needs = frozenset({"all_embeddings"})
    anchor: dict[str, Tensor]

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        if self.anchor:
            distances = [(p - self.anchor[name]).square().sum() for name, p in self.encoder.named_parameters()]
            losses["l2"] = self.settings["weight"] * torch.stack(distances).sum()
        return losses

    def encoder_now(self) -> dict[str, Tensor]:
        """Return a copy of the encoder's parameters."""
        return {name: p.detach().clone() for name, p in self.encoder.named_parameters()}


class ToPrevious(L2):
    """L2 to the encoder after the previous step; no penalty in step 1."""

    def begin_step(self, step: Step) -> None:
        self.anchor = self.encoder_now() if self.n_old else {}


class ToPretrained(L2):
    """L2 to the pretrained encoder, from step 1 on."""

    def begin_step(self, step: Step) -> None:
        if not self.n_old:
            for name, values in self.encoder_now().items():
                self.carried[name] = values
        self.anchor = {name: self.carried[name] for name, _ in self.encoder.named_parameters()}


class PreviousToken(ToPrevious, TagLearner):
    """``ToPrevious`` on the tag learner."""


class PreviousSpan(ToPrevious, SpanLearner):
    """``ToPrevious`` on the span learner."""


class PretrainedToken(ToPretrained, TagLearner):
    """``ToPretrained`` on the tag learner."""


class PretrainedSpan(ToPretrained, SpanLearner):
    """``ToPretrained`` on the span learner."""
