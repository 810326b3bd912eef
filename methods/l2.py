"""L2 towards earlier weights: of the previous step, or of the pretrained encoder."""

CARD = {
    "architecture": "any",
    "settings": {"l2_weight": 0.1},
    "identities": {"base": {"l2_weight": 0.0}},
    "status": "baseline",
    "deviations": "The penalty covers the encoder only. The weight 0.1 was not tuned. Expected: one compromise between "
    "learning and keeping for all weights; ewc shows whether their importance matters.",
    "search": {"l2_weight": {"times": [0.01, 100]}},
    "help": {"l2_weight": "weight of the squared distance"},
    "variants": {
        "l2-previous": {
            "label": "L2 to previous",
            "class": "ToPrevious",
            "summary": "The loss + l2_weight * squared distance of the encoder to the previous step's encoder.",
            "stores": "one copy of the encoder",
        },
        "l2-init": {
            "label": "L2 to pretrained",
            "class": "ToPretrained",
            "summary": "The loss + l2_weight * squared distance of the encoder to the pretrained encoder.",
            "stores": "nothing: the pretrained encoder is read again",
        },
    },
}

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output, Step
from cl_ner_bench.learning.pretrained import pretrained


class L2(Learner):
    """The loss + l2_weight * sum over the encoder's parameters of (theta - anchor)^2."""

    needs = frozenset({"all_embeddings"})
    anchor: dict[str, Tensor]

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        distances = [
            (p - self.anchor[name]).square().sum()
            for name, p in self.encoder.named_parameters()
            if name in self.anchor and p.requires_grad
        ]
        if distances and self.settings["l2_weight"]:
            losses["l2"] = self.settings["l2_weight"] * torch.stack(distances).sum()
        return losses


class ToPrevious(L2):
    """The anchor is the encoder after the previous step; no penalty in step 1."""

    def begin_step(self, step: Step) -> None:
        now = {name: p.detach().clone() for name, p in self.encoder.named_parameters()}
        self.anchor = now if self.n_old else {}
        super().begin_step(step)


class ToPretrained(L2):
    """The anchor is the pretrained encoder, from step 1 on."""

    def begin_step(self, step: Step) -> None:
        self.anchor = pretrained(self.encoder)
        super().begin_step(step)
