"""SpanKL: independent span classifiers per type, distilled from the previous step's model."""

CARD = {
    "class": "SpanKL",
    "architecture": "span",
    "first_step": "base",
    "year": 2023,
    "status": "faithful",
    "search": {"kd_weight": {"times": [0.1, 10]}},
    "help": {"kd_weight": "weight of distillation from the previous model"},
    "variants": {
        "spankl": {
            "label": "SpanKL",
            "settings": {"kd_weight": 1.0},
            "identities": {"spankl-nokd": {"kd_weight": 0.0}},
            "paper": "Zhang and Chen, A Neural Span-Based Continual Named Entity Recognition Model, AAAI 2023, arXiv "
            "2302.12200",
            "summary": "BCE on the new types, Bernoulli KL to the previous model on the old ones, over all spans.",
            "stores": "one copy of the model",
            "deviations": "A head is made when its task comes, not at the start. Each type's initial weights have "
            "their own random stream. Sentences beyond the encoder's limit are windowed, not cut. Warm-up is at most "
            "10 % of a task's updates. Gold may hold two types for one span. A type that comes back learns from its "
            "labels and is not distilled.",
        },
        "spankl-nokd": {
            "label": "SpanKL without KD",
            "settings": {"kd_weight": 0.0},
            "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (ablation)",
            "summary": "SpanKL without distillation: the old columns have no loss.",
            "stores": "nothing",
            "deviations": "As spankl. Weight decay still changes the old columns, as in the original.",
        },
        "spankl-mse": {
            "label": "SpanKL, squared distance",
            "class": "SpanMSE",
            "settings": {"kd_weight": 1.0},
            "status": "baseline",
            "summary": "SpanKL with the squared distance of the old logits in place of KL.",
            "stores": "one copy of the model",
            "deviations": "SpanKL's code has this option, but its paper gives no numbers. Sums and means are as for "
            "KL.",
        },
        "spankl-softmax": {
            "label": "SpanKL, one label per span",
            "class": "SpanSoftmax",
            "first_step": "own",
            "settings": {"kd_weight": 1.0},
            "status": "baseline",
            "summary": "SpanKL with a softmax over 'no mention' (logit 0) and the types in place of independent "
            "columns.",
            "stores": "one copy of the model",
            "deviations": "It shows the effect of independent columns. New and old types each have a softmax, so they "
            "are not negatives of each other. If a span has two types, the later column counts.",
        },
    },
}

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Need, Output, SpanLearner
from cl_ner_bench.learning.likelihood import of_drawn_classes
from cl_ner_bench.models.losses import categorical_kl


class SpanKL(SpanLearner):
    """Loss = BCE(new types) + kd_weight * KL(old types), both mean over types, sum over spans, mean over sentences.

    The teacher is the dev-selected model of the previous step, from which the student also starts. Future types do not
    exist yet; words of old types are plain negatives of the new columns, which are independent of the old ones. A type
    that comes back learns from its labels.
    """

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"teacher"}) if self.settings["kd_weight"] else frozenset()

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = {"bce": self.bce(batch, output, self.labelled)}
        if teacher is not None and self.unlabelled:
            losses["kd"] = self.settings["kd_weight"] * self.kl(batch, output, teacher, self.unlabelled)
        return losses


class SpanMSE(SpanKL):
    """SpanKL with (z - z_T)^2 in place of KL, mean over old types, sum over spans, mean over sentences."""

    def kl(self, batch: Batch, output: Output, teacher: Output, types: Sequence[str]) -> Tensor:
        columns = self.columns(types)
        distance = output.logits[:, columns] - teacher.logits[:, columns]
        return distance.square().sum() / len(types) / len(batch.examples)


class SpanSoftmax(SpanKL):
    """SpanKL with p = softmax([0, z]) over no mention and the types; sum over spans, mean over sentences.

    A span is predicted as the type of its largest logit if that is at least 0: then this type has the largest p.
    """

    def bce(self, batch: Batch, output: Output, types: Sequence[str]) -> Tensor:
        logits = with_none(output.logits[:, self.columns(types)])
        rows, columns = batch.span_gold(types, self.max_span_width)
        target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        target.scatter_reduce_(0, rows, columns + 1, "amax")
        return F.cross_entropy(logits, target, reduction="sum") / len(batch.examples)

    def kl(self, batch: Batch, output: Output, teacher: Output, types: Sequence[str]) -> Tensor:
        columns = self.columns(types)
        theirs, ours = with_none(teacher.logits[:, columns]), with_none(output.logits[:, columns])
        return categorical_kl(theirs, ours).sum() / len(batch.examples)

    def log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        return -len(batch.examples) * self.open_loss(batch, output)

    def drawn_log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        groups = [types for types in (self.labelled, self.unlabelled) if types]
        softmaxes = (with_none(output.logits[:, self.columns(types)]) for types in groups)
        return torch.stack([of_drawn_classes(logits) for logits in softmaxes]).sum()


def with_none(logits: Tensor) -> Tensor:
    """Return logits ``[spans, 1 + types]`` with a first column of zeros: no mention."""
    return F.pad(logits, (1, 0))
