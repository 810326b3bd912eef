"""IS3: gradients of old rows are damped, and prototypes hold the head in place."""

CARD = {
    "is3": {
        "label": "IS3",
        "class": "IS3",
        "architecture": "token",
        "settings": {"kd_weight": 2.0, "prototype_weight": 0.1, "old_gradient": 0.6},
        "search": {"kd_weight": {"times": [0.1, 10]}, "prototype_weight": {"times": [0.1, 10]}},
        "help": {
            "kd_weight": "weight of distillation from the previous model",
            "prototype_weight": "weight of cross-entropy on the prototypes of old tags",
            "old_gradient": "factor on the gradient of old rows",
        },
        "identities": {"extendner-codebase": {"prototype_weight": 0.0, "old_gradient": 1.0}},
        "paper": "Incremental Sequence Labeling: A Tale of Two Shifts, ACL Findings 2024, arXiv 2402.10447",
        "year": 2024,
        "status": "re-implementation",
        "summary": "ExtendNER with weaker CE gradients on old rows, and CE on prototypes of old tags.",
        "stores": "one copy of the model, one vector per old tag",
        "deviations": "IS3 is as in the code base of arXiv 2312.07887, but prototypes and teacher are computed without "
        "dropout. Optimiser, epochs and dev selection are the recipe's.",
    }
}

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner
from cl_ner_bench.models.losses import categorical_kl


class IS3(TagLearner):
    """CE(labelled words) + kd_weight * KL(unlabelled) + prototype_weight * CE(head(prototypes), their tags).

    The first term's gradient is multiplied by ``old_gradient`` for the weights of old rows except O. A prototype is the
    mean unit word vector of a tag in the first step that labels it. The last term is left out if no word of the batch
    is labelled.
    """

    needs = frozenset({"teacher"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None or output.words is None:
            return super().losses(batch, output, teacher)
        target = self.targets(batch, teacher)
        labelled = target > 0
        losses = {}
        if labelled.any():
            words = output.words[labelled]
            logits = functional_call(self.head, self.damped_rows(), (words, [len(words)]))
            losses["ce"] = F.cross_entropy(logits, target[labelled])
            # Plug-ins carry tensors, too, under names of their own.
            if tags := [tag for tag in range(1, self.n_columns) if f"prototype.{tag}" in self.carried]:
                prototypes = torch.stack([self.carried[f"prototype.{tag}"] for tag in tags])
                ce = F.cross_entropy(self.head(prototypes, [len(tags)]), torch.tensor(tags).to(words.device))
                losses["prototypes"] = self.settings["prototype_weight"] * ce
        if not labelled.all():
            kl = categorical_kl(teacher.logits[~labelled], output.logits[~labelled]).mean()
            losses["kd"] = self.settings["kd_weight"] * kl
        return losses

    def damped_rows(self) -> dict[str, Tensor]:
        """Return the head's old rows except O by name, with the same values and weaker gradients."""
        share, old = self.settings["old_gradient"], self.head.types[: self.n_old]
        weights = {
            f"blocks.{k}.weight": self.head.blocks[k].weight
            for k, types in enumerate(self.head.grown)
            if any(t in old for t in types)
        }
        return {name: share * w + (1 - share) * w.detach() for name, w in weights.items()}

    def end_step(self, step: Step) -> None:
        sums: dict[int, Tensor] = {}
        counts: dict[int, int] = {}
        for batch, output in self.outputs(step.batches()):
            assert output.words is not None
            target, unit = batch.tag_targets(self.head.types), F.normalize(output.words)
            for tag in set(target.cpu().tolist()) - {0}:
                found = unit[target == tag]
                sums[tag] = sums.get(tag, 0) + found.sum(0)
                counts[tag] = counts.get(tag, 0) + len(found)
        for tag in sorted(sums):
            if f"prototype.{tag}" not in self.carried:
                self.carried[f"prototype.{tag}"] = sums[tag] / counts[tag]
