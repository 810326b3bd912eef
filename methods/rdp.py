"""RDP: pseudo-labels that prototypes of the previous model correct, and relations between classes."""

CARD = {
    "rdp": {
        "label": "RDP",
        "class": "RDP",
        "architecture": "token",
        "first_step": "base",
        "settings": {"kd_weight": 2.0, "soft_weight": 0.3, "entropy_weight": 0.1},
        "paper": "Zhang et al., Task Relation Distillation and Prototypical Pseudo Label for Incremental Named Entity "
        "Recognition, CIKM 2023, arXiv 2308.08793",
        "year": 2023,
        "status": "re-implementation",
        "summary": "CE with prototype-weighted pseudo-labels, KL to the previous model, soft labels, low entropy.",
        "stores": "one copy of the model",
        "deviations": "Prototypes are means of word vectors; the release reshapes them wrongly. As released, a tag "
        "without words keeps the prototype 0. Terms are means over words, not over padded positions. Linear head and "
        "the recipe's optimiser instead of a cosine head with frozen old rows, imprinted new ones and SGD.",
    }
}

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner
from cl_ner_bench.models.losses import categorical_kl


class RDP(TagLearner):
    """CE(all words) + kd_weight * KL(unlabelled) + soft_weight * S + entropy_weight * H, means over words.

    An unlabelled word's pseudo-label is argmax over the old tags c of softmax(-|h_T - mu_c|) * p_T(c), where mu_c is
    the mean teacher vector of the unlabelled train words that the teacher tags c. S is the cross-entropy of p with
    softmax([sigmoid(teacher logits), one-hot new label]), H the entropy of p, both per column.
    """

    needs = frozenset({"teacher", "features"})

    def begin_step(self, step: Step) -> None:
        if step.teacher is None:
            return
        n_old, hidden = 1 + 2 * self.n_old, self.encoder.hidden_size
        sums, counts = torch.zeros(n_old, hidden, device=self.device), torch.zeros(n_old, device=self.device)
        for batch in step.batches():
            teacher = step.teacher(batch)
            assert teacher.words is not None
            unlabelled = batch.tag_targets(self.head.types) == 0
            tags = teacher.logits[unlabelled].argmax(1)
            sums.index_add_(0, tags, teacher.words[unlabelled])
            counts += torch.bincount(tags, minlength=n_old)
        self.prototypes = sums / counts.clamp(min=1)[:, None]

    def targets(self, batch: Batch, teacher: Output | None) -> Tensor:
        gold = super().targets(batch, teacher)
        if teacher is None or teacher.words is None:
            return gold
        nearness = F.softmax(-torch.cdist(teacher.words, self.prototypes), dim=1)
        return gold.where(gold > 0, (nearness * F.softmax(teacher.logits, dim=1)).argmax(1))

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        if teacher is None:
            return losses
        gold = batch.tag_targets(self.head.types)
        n_old, n_columns = teacher.logits.shape[1], output.logits.shape[1]
        one_hot = F.one_hot(gold, n_columns)[:, n_old:]
        soft = F.softmax(torch.cat([teacher.logits.sigmoid(), one_hot], dim=1), dim=1)
        log_p = F.log_softmax(output.logits, dim=1)
        losses["soft"] = self.settings["soft_weight"] * -(soft * log_p).mean()
        losses["entropy"] = self.settings["entropy_weight"] * -(log_p.exp() * log_p).mean()
        if (gold == 0).any():
            kl = categorical_kl(teacher.logits[gold == 0], output.logits[gold == 0])
            losses["kd"] = self.settings["kd_weight"] * kl.mean()
        return losses
