"""DLD: the parts of a logit that speak for and against a tag are distilled one by one."""

CARD = {
    "dld": {
        "label": "DLD",
        "class": "DLD",
        "architecture": "token",
        "first_step": "base",
        "settings": {"kd_weight": 2.0, "part_weight": 2.0},
        "paper": "Zhang et al., Decomposing Logits Distillation for Incremental Named Entity Recognition, SIGIR 2023",
        "year": 2023,
        "status": "re-implementation",
        "summary": "ExtendNER, and KL to the previous model for the positive and the negative part of each logit.",
        "stores": "one copy of the model",
        "deviations": "No code of the authors was found, and the abstract leaves the divergence open. The parts are "
        "those of DKD (NeurIPS 2022): h * max(w, 0) and h * min(w, 0); each is distilled by a KL of softmaxes per "
        "word. Weights 2 and 2 as in the code base of arXiv 2312.07887.",
    }
}

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner
from cl_ner_bench.models.losses import categorical_kl


class DLD(TagLearner):
    """CE(labelled words) + kd_weight * KL + part_weight * (KL of positive parts + KL of negative parts), on others."""

    needs = frozenset({"teacher", "features"})

    def begin_step(self, step: Step) -> None:
        self.old_head = self.head.weight[: 1 + 2 * self.n_old].detach().clone()

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None or output.words is None or teacher.words is None:
            return super().losses(batch, output, teacher)
        target = self.targets(batch, teacher)
        labelled = target > 0
        losses = {}
        if labelled.any():
            losses["ce"] = F.cross_entropy(output.logits[labelled], target[labelled])
        if not labelled.all():
            o = ~labelled
            losses["kd"] = self.settings["kd_weight"] * categorical_kl(teacher.logits[o], output.logits[o]).mean()
            weight = self.head.weight[: len(self.old_head)]
            for name, part in (("positive", torch.relu), ("negative", lambda w: -torch.relu(-w))):
                ours, theirs = output.words[o] @ part(weight).T, teacher.words[o] @ part(self.old_head).T
                losses[name] = self.settings["part_weight"] * categorical_kl(theirs, ours).mean()
        return losses
