"""CPFD: pseudo-labels where the previous model is confident, and distilled attention."""

CARD = {
    "architecture": "token",
    "first_step": "base",
    "year": 2023,
    "status": "re-implementation",
    "stores": "one copy of the model",
    "recipes": {"recall": {"old_rows": "frozen"}},
    "search": {"kd_weight": {"times": [0.1, 10]}},
    "help": {
        "kd_weight": "weight of distillation from the previous model",
        "floor": "lower bound of the threshold for the entropy of pseudo-labels",
        "min_factor": "lowest weight of a sentence with few accepted pseudo-labels",
        "compat": "true: as in the released code, including its faults (see deviations)",
    },
    "variants": {
        "cpfd": {
            "label": "CPFD",
            "class": "CPFD",
            "settings": {"kd_weight": 2.0, "floor": 0.001, "min_factor": 0.0, "compat": False},
            "paper": "Zhang et al., Continual Named Entity Recognition without Catastrophic Forgetting, EMNLP 2023",
            "summary": "CE with confident pseudo-labels, weighted by sentence and type, + KL and pooled attention "
            "distance to the previous model.",
            "deviations": "New mentions always count in full; in the release, a sentence without an accepted word has "
            "no CE at all. The entropy is divided by its maximum; the release also divides it by the number of old "
            "columns, which raises the floor. With compat, both are as released. Attention is compared before dropout "
            "and without padding. The recipes cfner and recall freeze old rows; only cfner adds the cosine head, "
            "imprinted new rows and SGD.",
        },
        "cpfd-codebase": {
            "label": "CPFD (code base)",
            "class": "CodebaseCPFD",
            "settings": {"kd_weight": 2.0, "floor": 0.001, "min_factor": 0.0, "compat": True},
            "paper": "Zhang et al., EMNLP 2023, as in the code base of Zheng et al., ACL 2024, arXiv 2312.07887",
            "summary": "CPFD as released, but CE is divided by the number of all words, including refused words.",
            "deviations": "The loss is that code base's, but the teacher has no dropout, and attention is compared "
            "before dropout and without padding. The matching recipe is recall.",
        },
    },
}

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner
from cl_ner_bench.models.losses import categorical_kl

REFUSED = -100


class CPFD(TagLearner):
    """Weighted CE + kd_weight * sqrt((old columns - 1) / new columns) * (KL(unlabelled) + pooled attention).

    An unlabelled word takes the teacher's tag if the teacher's entropy is below the tag's threshold: the median over
    the unlabelled train words with that tag, at least ``floor``. Otherwise it is refused and has no CE. The CE of an
    accepted word is weighted by the accepted share of its sentence's unlabelled words (at least ``min_factor``). If its
    tag is of an old type, the weight is multiplied by 0.5 + sigmoid(old / new words of the sentence).
    """

    needs = frozenset({"teacher", "attentions"})

    def begin_step(self, step: Step) -> None:
        if step.teacher is None:
            return
        tags, entropies = [], []
        for batch in step.batches():
            logits = step.teacher(batch).logits[batch.tag_targets(self.head.types) == 0]
            tags.append(logits.argmax(1))
            entropies.append(self.uncertainty(logits))
        tag, value = torch.cat(tags), torch.cat(entropies)
        medians = [value[tag == c].quantile(0.5).item() if (tag == c).any() else 0.0 for c in range(1 + 2 * self.n_old)]
        self.thresholds = torch.tensor(medians).to(self.device).clamp(min=self.settings["floor"])

    def targets(self, batch: Batch, teacher: Output | None) -> Tensor:
        gold = super().targets(batch, teacher)
        if teacher is None:
            return gold
        tag = teacher.logits.argmax(1)
        accepted = self.uncertainty(teacher.logits) < self.thresholds[tag]
        return gold.where(gold > 0, tag.masked_fill(~accepted, REFUSED))

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None:
            return super().losses(batch, output, teacher)
        unlabelled = batch.tag_targets(self.head.types) == 0
        target = self.targets(batch, teacher)
        n_old, n_new = teacher.logits.shape[1], max(1, output.logits.shape[1] - teacher.logits.shape[1])
        ce = F.cross_entropy(output.logits, target, reduction="none", ignore_index=REFUSED)
        weight = self.settings["kd_weight"] * math.sqrt((n_old - 1) / n_new)
        losses = {"ce": (ce * self._weights(batch, target, unlabelled)).sum() / self.divisor(target)}
        if unlabelled.any():
            losses["kd"] = weight * categorical_kl(teacher.logits[unlabelled], output.logits[unlabelled]).mean()
        for name, value in self.state_losses(output, teacher, target, unlabelled).items():
            losses[name] = weight * value
        return losses

    def state_losses(self, output: Output, teacher: Output, target: Tensor, unlabelled: Tensor) -> dict[str, Tensor]:
        """Return the distances of the encoder's states from the teacher's, by name."""
        return {"attention": attention_distance(output.attentions, teacher.attentions)}

    def type_weight(self, old: Tensor, new: Tensor) -> Tensor | float:
        """Return the weight of words of old types in a sentence with so many words of old and of new types."""
        return 0.5 + torch.sigmoid(old / new.clamp(min=1))

    def divisor(self, target: Tensor) -> Tensor | int:
        """Return the number of words by which CE is divided."""
        return (target != REFUSED).sum().clamp(min=1)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Return the entropy of each row that is compared with a threshold ``[rows]``."""
        share = entropy(logits)
        return share / logits.shape[1] if self.settings["compat"] else share

    def _weights(self, batch: Batch, target: Tensor, unlabelled: Tensor) -> Tensor:
        parts = []
        lengths = batch.lengths
        for tags, open_words in zip(target.split(lengths), unlabelled.split(lengths), strict=True):
            accepted = open_words & (tags != REFUSED)
            factor = (accepted.sum() / (open_words.sum() + 1e-6)).clamp(min=self.settings["min_factor"])
            old, new = (accepted & (tags > 0)), ~open_words
            weights = factor * torch.where(old, self.type_weight(old.sum(), new.sum()), 1.0)
            parts.append(weights if self.settings["compat"] else weights.where(open_words, 1.0))
        return torch.cat(parts)


class CodebaseCPFD(CPFD):
    """CPFD with CE divided by the number of all words."""

    def divisor(self, target: Tensor) -> Tensor | int:
        return len(target)


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each row's softmax as a share of the largest possible entropy: ``[rows]``."""
    p = F.softmax(logits, dim=1)
    return -(p * torch.log(p + 1e-8)).sum(1) / math.log(logits.shape[1] + 1e-8)


def attention_distance(ours: Sequence[Sequence[Tensor]], theirs: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the mean over layers of three mean squared differences: of maps averaged over heads, queries or keys."""
    total = []
    for layer, reference in zip(ours, theirs, strict=True):
        for axis in (0, 1, 2):
            differences = [(a.mean(axis) - b.mean(axis)).flatten() for a, b in zip(layer, reference, strict=True)]
            total.append(torch.cat(differences).square().mean())
    return torch.stack(total).sum() / len(ours)
