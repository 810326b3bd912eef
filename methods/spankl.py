"""SpanKL: independent span classifiers per type, distilled from the previous step's model."""

CARD = {
    "class": "SpanKL",
    "architecture": "span",
    "first_step": "base",
    "year": 2023,
    "status": "faithful",
    "variants": {
        "spankl": {
            "label": "SpanKL",
            "settings": {"kd_weight": 1.0},
            "paper": "Zhang and Chen, A Neural Span-Based Continual Named Entity Recognition Model, AAAI 2023, arXiv "
            "2302.12200",
            "summary": "BCE on the new types, Bernoulli KL to the previous model on the old ones, over all spans.",
            "stores": "one copy of the model",
            "deviations": "Heads are made when their task comes, not all at the start; each type's initial weights "
            "have their own random stream. Sentences beyond the encoder's limit are windowed, not cut. Warm-up is at "
            "most 10 % of a task's updates. Gold may hold two types for one span. A type that comes back learns from "
            "its labels and is not distilled.",
        },
        "spankl-nokd": {
            "label": "SpanKL without KD",
            "settings": {"kd_weight": 0.0},
            "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (ablation)",
            "summary": "SpanKL without distillation: the old columns get no signal at all.",
            "stores": "nothing",
            "deviations": "As spankl. Weight decay still acts on the old columns, as in the original.",
        },
    },
}

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Need, Output, SpanLearner


class SpanKL(SpanLearner):
    """Loss = BCE(new types) + kd_weight * KL(old types), both mean over types, sum over spans, mean over sentences.

    The teacher is the dev-selected model of the previous step, from which the student also starts. Future types do not
    exist yet; words of old types are plain negatives of the new columns, which are independent of the old. A type that
    comes back learns from its labels.
    """

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"teacher"}) if self.settings["kd_weight"] else frozenset()

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = {"bce": self.bce(batch, output, self.labelled)}
        if teacher is not None and self.unlabelled:
            losses["kd"] = self.settings["kd_weight"] * self.kl(batch, output, teacher, self.unlabelled)
        return losses
