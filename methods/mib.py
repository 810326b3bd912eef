"""MiB: cross-entropy and distillation that know what O may hide."""

CARD = {
    "mib": {
        "label": "MiB",
        "class": "MiB",
        "architecture": "token",
        "first_step": "base",
        "settings": {"kd_weight": 1.0},
        "search": {"kd_weight": {"times": [0.1, 10]}},
        "help": {"kd_weight": "weight of distillation from the previous model"},
        "paper": "Cermelli et al., Modeling the Background for Incremental Learning in Semantic Segmentation, CVPR "
        "2020",
        "year": 2020,
        "status": "re-implementation",
        "summary": "CE in which an unlabelled word is O or an old type; KD in which the teacher's O is O or a new "
        "type.",
        "stores": "one copy of the model",
        "deviations": "The input is words instead of images: the background is O, and a type has two tags. The weight "
        "1 of the distillation was not tuned. A type that comes back is labelled like a new one. A cosine head has no "
        "bias that could share the probability of O, so its new rows start as the recipe says.",
    }
}

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner


class MiB(TagLearner):
    """Unbiased CE + kd_weight * unbiased KD, means over all words (Cermelli et al., CVPR 2020).

    New rows of a head with biases start as copies of the row of O, and O and the new tags share the probability of O
    equally.
    """

    needs = frozenset({"teacher"})

    def begin_step(self, step: Step) -> None:
        if not self.n_old or not self.grown[-1]:
            return
        first: Any = self.head.blocks[0]
        new: Any = self.head.blocks[-1]
        if first.bias is None:
            return
        with torch.no_grad():
            new.weight.copy_(first.weight.expand_as(new.weight))
            first.bias -= math.log(len(new.bias) + 1)
            new.bias.copy_(first.bias.expand_as(new.bias))

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None:
            return super().losses(batch, output, teacher)
        n_old = teacher.logits.shape[1]
        log_p = F.log_softmax(output.logits, dim=1)
        not_old = torch.cat([log_p[:, :1], log_p[:, n_old:]], dim=1).logsumexp(1, keepdim=True)
        log_q = torch.cat([not_old, log_p[:, 1:n_old]], dim=1)
        kd = -(F.softmax(teacher.logits, dim=1) * log_q).sum(1).mean() / n_old
        return {"ce": self.open_loss(batch, output), "kd": self.settings["kd_weight"] * kd}
