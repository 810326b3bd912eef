"""DLD: the parts of a logit that speak for a tag and against it are distilled separately."""

CARD = {
    "architecture": "token",
    "first_step": "base",
    "year": 2023,
    "status": "re-implementation",
    "stores": "one copy of the model",
    "search": {"kd_weight": {"times": [0.1, 10]}, "part_weight": {"times": [0.1, 10]}},
    "help": {
        "kd_weight": "weight of distillation from the previous model",
        "part_weight": "weight of each of the two parts of distillation",
    },
    "variants": {
        "dld": {
            "label": "DLD",
            "class": "DLD",
            "settings": {"kd_weight": 2.0, "part_weight": 2.0},
            "identities": {"extendner": {"kd_weight": 1.0, "part_weight": 0.0}},
            "paper": "Zhang et al., Decomposing Logits Distillation for Incremental Named Entity Recognition, SIGIR "
            "2023",
            "summary": "ExtendNER + KL to the previous model for the positive and the negative part of each logit.",
            "deviations": "No code of the authors was found, and the abstract leaves the divergence open. The parts "
            "are those of DKD (NeurIPS 2022): h * max(w, 0) and h * min(w, 0). With a cosine head, h and w are unit "
            "vectors (w times the scale). Each part is distilled by a KL of softmaxes per word. Both weights are 2, as "
            "in the code base of arXiv 2312.07887.",
        },
        "dld-codebase": {
            "label": "DLD (code base)",
            "class": "CodebaseDLD",
            "settings": {"kd_weight": 2.0, "part_weight": 2.0},
            "paper": "Zhang et al., SIGIR 2023, as in the code base of Zheng et al., ACL 2024, arXiv 2312.07887",
            "summary": "ExtendNER + KL over all positive logits of a batch + KL over all negative logits.",
            "deviations": "The terms run over words only; in that code base also over special tokens and padding. The "
            "teacher has no dropout. The matching recipe is recall.",
        },
    },
}

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner
from cl_ner_bench.models.heads.tag import TagHead
from cl_ner_bench.models.losses import categorical_kl


class DLD(TagLearner):
    """CE(labelled words) + kd_weight * KL + part_weight * (KL of positive + of negative parts), KL on other words."""

    head: TagHead
    needs = frozenset({"teacher", "features"})

    def begin_step(self, step: Step) -> None:
        self.old_rows = self.head.scaled_rows[: 1 + 2 * self.n_old].detach().clone()

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
        for name, value in self.part_losses(output, teacher, ~labelled).items():
            losses[name] = self.settings["part_weight"] * value
        return losses

    def part_losses(self, output: Output, teacher: Output, open_words: Tensor) -> dict[str, Tensor]:
        """Return the divergences of the ``positive`` and ``negative`` parts; nothing without an unlabelled word."""
        assert output.words is not None
        assert teacher.words is not None
        if not open_words.any():
            return {}
        h, h_teacher = (self.head.scaled(words[open_words]) for words in (output.words, teacher.words))
        rows = self.head.scaled_rows[: len(self.old_rows)]
        losses = {}
        for name, part in (("positive", torch.relu), ("negative", lambda w: -torch.relu(-w))):
            theirs, ours = h_teacher @ part(self.old_rows).T, h @ part(rows).T
            losses[name] = categorical_kl(theirs, ours).mean()
        return losses


class CodebaseDLD(DLD):
    """DLD whose parts are the batch's old logits above 0 and those below: each is one softmax over words and tags."""

    def part_losses(self, output: Output, teacher: Output, open_words: Tensor) -> dict[str, Tensor]:
        student = output.logits[:, : teacher.logits.shape[1]]
        losses = {}
        for name, chosen in (("positive", student > 0), ("negative", student < 0)):
            if chosen.any():
                kl = categorical_kl(teacher.logits[chosen][None], student[chosen][None])
                losses[name] = kl.mean() / chosen.sum()
        return losses
