"""Self-training: the previous model's prediction replaces a missing label."""

CARD = {
    "search": {"confidence": {"low": 0.5, "high": 0.95}},
    "help": {"confidence": "lowest probability at which a word gets a pseudo-label"},
    "variants": {
        "selftrain": {
            "label": "Self-Training",
            "class": "SelfTraining",
            "paper": "as in Zheng et al., ACL 2024, arXiv 2312.07887 (code base); Rosenberg et al., WACV 2005",
            "year": 2005,
            "status": "re-implementation",
            "summary": "CE on all words; an unlabelled word gets the previous model's most probable tag.",
            "deviations": "Optimiser, epochs and dev selection are the recipe's.",
        },
        "selftrain-confident": {
            "label": "Self-Training (confident)",
            "class": "ConfidentSelfTraining",
            "settings": {"confidence": 0.7},
            "identities": {"selftrain": {"confidence": 0.0}},
            "status": "baseline",
            "summary": "As selftrain, but words on which the previous model is not confident have no loss.",
        },
    },
    "architecture": "token",
    "first_step": "base",
    "stores": "one copy of the model",
}

import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, TagLearner

IGNORED = -100  # ignore_index of F.cross_entropy


class SelfTraining(TagLearner):
    """CE(all words) with the label; a word without a label has the teacher's most probable tag."""

    needs = frozenset({"teacher"})

    def targets(self, batch: Batch, teacher: Output | None) -> Tensor:
        gold = super().targets(batch, teacher)
        return gold if teacher is None else gold.where(gold > 0, teacher.logits.argmax(1))


class ConfidentSelfTraining(SelfTraining):
    """CE on labelled words, and on others if the teacher's largest probability is at least ``confidence``.

    CE is 0 for a batch without such words.
    """

    def targets(self, batch: Batch, teacher: Output | None) -> Tensor:
        targets = super().targets(batch, teacher)
        if teacher is None:
            return targets
        labelled = TagLearner.targets(self, batch, teacher) > 0
        confident = teacher.logits.softmax(1).amax(1) >= self.settings["confidence"]
        return targets.masked_fill(~labelled & ~confident, IGNORED)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None:
            return super().losses(batch, output, teacher)
        targets = self.targets(batch, teacher)
        ce = F.cross_entropy(output.logits, targets, reduction="sum")
        return {"ce": ce / (targets != IGNORED).sum().clamp(min=1)}
