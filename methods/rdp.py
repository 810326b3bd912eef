"""RDP: prototypes correct the previous model's pseudo-labels, and relations between classes are learned."""

CARD = {
    "architecture": "token",
    "first_step": "base",
    "year": 2023,
    "status": "re-implementation",
    "stores": "one copy of the model",
    "recipes": {"recall": {"old_rows": "frozen"}},
    "search": {
        "kd_weight": {"times": [0.1, 10]},
        "soft_weight": {"times": [0.1, 10]},
        "entropy_weight": {"times": [0.1, 10]},
    },
    "help": {
        "kd_weight": "weight of distillation from the previous model",
        "soft_weight": "weight of the soft labels",
        "entropy_weight": "weight of the entropy of predictions",
        "compat": "true: as in the released code, including its faults (see deviations)",
    },
    "variants": {
        "rdp": {
            "label": "RDP",
            "class": "RDP",
            "settings": {"kd_weight": 2.0, "soft_weight": 0.3, "entropy_weight": 0.1, "compat": False},
            "paper": "Zhang et al., Task Relation Distillation and Prototypical Pseudo Label for Incremental Named "
            "Entity Recognition, CIKM 2023, arXiv 2308.08793",
            "summary": "CE with prototype-weighted pseudo-labels + KL to the previous model + CE with soft labels + "
            "entropy.",
            "deviations": "Prototypes are means of word vectors; the release reads rows as columns (compat: as "
            "released). As released, a tag without words keeps the prototype 0. Terms are means over words; the "
            "release also counts special tokens and padding, which no setting repeats. The recipes cfner and recall "
            "freeze old rows; only cfner adds the cosine head, imprinted new rows and SGD.",
        },
        "rdp-codebase": {
            "label": "RDP (code base)",
            "class": "CodebaseRDP",
            "settings": {"kd_weight": 2.0, "soft_weight": 0.3, "entropy_weight": 0.1, "compat": True},
            "paper": "Zhang et al., CIKM 2023, as in the code base of Zheng et al., ACL 2024, arXiv 2312.07887",
            "summary": "RDP with the prototypes of the code base of Zheng et al. (2024): the index of a word vector's "
            "largest entry is its tag.",
            "deviations": "Prototypes and losses are that code base's, but the teacher has no dropout and terms run "
            "over words only. The matching recipe is recall.",
        },
    },
}

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner
from cl_ner_bench.models.losses import categorical_kl


class RDP(TagLearner):
    """CE(all words) + kd_weight * KL(unlabelled) + soft_weight * S + entropy_weight * H, means over words.

    An unlabelled word's pseudo-label is argmax over O and the old tags c of softmax(-|h_T - mu_c|) * p_T(c). mu_c is
    the mean teacher vector of the unlabelled train words that the teacher tags c. S is the cross-entropy of p with
    softmax([sigmoid(teacher logits), one-hot new label]), H the entropy of p, both per column.
    """

    needs = frozenset({"teacher", "features"})
    released_batch = 8  # sentences of a batch in the release, on which its prototypes depend

    def begin_step(self, step: Step) -> None:
        if step.teacher is None:
            return
        n_old, hidden = 1 + 2 * self.n_old, self.encoder.hidden_size
        sums, counts = torch.zeros(n_old, hidden, device=self.device), torch.zeros(n_old, device=self.device)
        for batch in batches_in_order(step, self.released_batch) if self.settings.get("compat") else step.batches():
            teacher = step.teacher(batch)
            assert teacher.words is not None
            tags = self.prototype_tags(teacher)
            used = (batch.tag_targets(self.head.types) == 0) & (tags < n_old)
            tags, words = tags[used], teacher.words[used]
            sums.index_add_(0, tags, scrambled(words, tags) if self.settings.get("compat") else words)
            counts += torch.bincount(tags, minlength=n_old)
        self.prototypes = sums / counts.clamp(min=1)[:, None]

    def prototype_tags(self, teacher: Output) -> Tensor:
        """Return for each word the tag whose prototype it counts in ``[words]``."""
        return teacher.logits.argmax(1)

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
        losses |= self.relation_losses(batch, output, teacher)
        unlabelled = batch.tag_targets(self.head.types) == 0
        if unlabelled.any():
            kl = categorical_kl(teacher.logits[unlabelled], output.logits[unlabelled])
            losses["kd"] = self.settings["kd_weight"] * kl.mean()
        return losses

    def relation_losses(self, batch: Batch, output: Output, teacher: Output) -> dict[str, Tensor]:
        """Return S and H with their weights."""
        log_p = F.log_softmax(output.logits, dim=1)
        soft = -(self.soft_labels(batch, output, teacher) * log_p).mean()
        entropy = -(log_p.exp() * log_p).mean()
        return {"soft": self.settings["soft_weight"] * soft, "entropy": self.settings["entropy_weight"] * entropy}

    def soft_labels(self, batch: Batch, output: Output, teacher: Output) -> Tensor:
        """Return softmax([sigmoid(teacher logits), one-hot new label]) of each word ``[words, columns]``."""
        one_hot = F.one_hot(batch.tag_targets(self.head.types), output.logits.shape[1])[:, teacher.logits.shape[1] :]
        return F.softmax(torch.cat([teacher.logits.sigmoid(), one_hot], dim=1), dim=1)


class CodebaseRDP(RDP):
    """RDP whose prototypes take the index of a word vector's largest entry as its tag, and skip indices beyond tags."""

    released_batch = 4

    def prototype_tags(self, teacher: Output) -> Tensor:
        assert teacher.words is not None
        return teacher.words.argmax(1)


def batches_in_order(step: Step, size: int) -> Iterator[Batch]:
    """Yield all train sentences in their order, in batches of ``size``."""
    for start in range(0, len(step.train), size):
        yield step.batch(range(start, min(start + size, len(step.train))))


def scrambled(words: Tensor, tags: Tensor) -> Tensor:
    """Return for each word the mean of its tag's vectors ``[n, hidden]``, read (wrongly) as ``[hidden, n]``."""
    mixed = torch.empty_like(words)
    for tag in tags.unique():
        own = words[tags == tag]
        mixed[tags == tag] = own.reshape(-1, len(own)).mean(1)
    return mixed
