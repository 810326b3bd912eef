"""Weight averaging: after each step the weights lie between those before and after it."""

CARD = {
    "settings": {"share": 0.5},
    "year": 2022,
    "paper": "Wortsman et al., Robust fine-tuning of zero-shot models (WiSE-FT), CVPR 2022; from step to step as in "
    "Marouf et al., Weighted Ensemble Models Are Strong Continual Learners (CoMA), ECCV 2024",
    "status": "re-implementation",
    "first_step": "base",
    "stores": "one copy of the model while a step is learned",
    "deviations": "Rows of new types are not averaged. On plain fine-tuning. The share was not searched.",
    "variants": {
        "average-token": {
            "label": "Averaging (token)",
            "class": "AverageToken",
            "architecture": "token",
            "summary": "Fine-tuning; then the weights are (1 - share) * previous + share * learned.",
        },
        "average-span": {
            "label": "Averaging (span)",
            "class": "AverageSpan",
            "architecture": "span",
            "summary": "BCE on the labelled columns; then the weights are (1 - share) * previous + share * learned.",
        },
    },
}

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output, SpanLearner, Step, TagLearner


class Average(Learner):
    """Replaces the weights after a step by (1 - share) * before + share * after, except rows of new types."""

    def begin_step(self, step: Step) -> None:
        new = {id(p) for p in self.head.blocks[-1].parameters()} if self.grown[-1] else set()
        known = {name: p.detach().clone() for name, p in self.named_parameters() if id(p) not in new}
        self.before = known if self.n_old else {}

    def end_step(self, step: Step) -> None:
        with torch.no_grad():
            for name, p in self.named_parameters():
                if name in self.before:
                    p.lerp_(self.before[name], 1 - self.settings["share"])


class AverageToken(Average, TagLearner):
    """Averaging on the tag learner."""


class AverageSpan(Average, SpanLearner):
    """Averaging on the span learner, whose old columns have no loss."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"bce": self.bce(batch, output, self.labelled)}
