"""Weight averaging: after each step the weights lie between those before and after it."""

CARD = {
    "architecture": "any",
    "status": "re-implementation",
    "search": {"average_share": {"low": 0.1, "high": 0.9}},
    "help": {
        "average_share": "share of the step's own weights in the average",
        "fisher_limit": "upper limit of a weight's importance",
        "fisher_sentences": "largest number of train sentences for measuring the importance",
    },
    "variants": {
        "average": {
            "label": "Averaging",
            "class": "Average",
            "first_step": "base",
            "settings": {"average_share": 0.5},
            "identities": {"base": {"average_share": 1.0}},
            "paper": "Marouf et al., Weighted Ensemble Models Are Strong Continual Learners (CoMA), ECCV 2024",
            "year": 2024,
            "summary": "After a step, the weights are (1 - average_share) * previous + average_share * learned.",
            "stores": "one copy of the model while a step is learned",
            "deviations": "Weights that a step adds (rows of new types, adapters) are not averaged. The classifier is "
            "not calibrated. The share 0.5 was not tuned. Expected: much less forgetting with methods that keep old "
            "columns, at some cost in new types.",
        },
        "wise-ft": {
            "label": "WiSE-FT",
            "class": "WiSEFT",
            "settings": {"average_share": 0.5},
            "identities": {"base": {"average_share": 1.0}},
            "paper": "Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022",
            "year": 2022,
            "summary": "After a step, the encoder is (1 - average_share) * pretrained + average_share * learned.",
            "stores": "nothing: the pretrained encoder is read again",
            "deviations": "The average is computed after each step, not once at the end. The head has no pretrained "
            "weights and stays as learned. The share 0.5 was not tuned. Expected: old and new types lose alike, "
            "because the head has not seen the averaged encoder.",
        },
        "cofima": {
            "label": "CoFiMA",
            "class": "CoFiMA",
            "settings": {"average_share": 0.5, "fisher_limit": 1e-4, "fisher_sentences": 200},
            "identities": {"base": {"average_share": 1.0}},
            "paper": "Marouf et al., Weighted Ensemble Models Are Strong Continual Learners (CoFiMA), ECCV 2024",
            "year": 2024,
            "summary": "As the method average, but Fisher information before and after the step also weights each "
            "average.",
            "stores": "the Fisher information of the previous step, one copy of the model while a step is learned",
            "deviations": "The information is the mean squared gradient of the log-likelihood of single sentences, "
            "over at most fisher_sentences train sentences. It is measured in evaluation mode, with labels drawn from "
            "the model. The release squares the mean gradient of a batch, in training mode. As in the release, "
            "fisher_limit caps the information, so all weights above it count alike. Where both values are 0, the "
            "average is a plain mean; the release divides by 0. Weights that a step adds are not averaged; the release "
            "multiplies them by their information. The classifier is not calibrated. No setting was tuned. Expected: "
            "as the method average.",
        },
    },
}

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ner_bench.learning.importance import drawn_sentences, importance
from cl_ner_bench.learning.learner import Learner, Step
from cl_ner_bench.learning.pretrained import pretrained
from cl_ner_bench.models.heads.growing import Init


class Average(Learner):
    """After a step, theta <- (1 - average_share) * before + average_share * theta, except for weights that it added.

    These (rows of new types, or an adapter) began at random values.
    """

    before: dict[str, Tensor]
    older: frozenset[str]

    def grow(self, types: Sequence[str], init: Init) -> None:
        self.older = frozenset(name for name, _ in self.named_parameters())
        super().grow(types, init)

    def begin_step(self, step: Step) -> None:
        known = {name: p.detach().clone() for name, p in self.named_parameters() if name in self.older}
        self.before = known if self.n_old else {}
        super().begin_step(step)

    def end_step(self, step: Step) -> None:
        with torch.no_grad():
            for name, p in self.named_parameters():
                if name in self.before:
                    p.lerp_(self.before[name], 1 - self.settings["average_share"])
        super().end_step(step)


class WiSEFT(Average):
    """After a step, the encoder is (1 - average_share) * pretrained + average_share * learned."""

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        self.before = {f"encoder.{name}": values for name, values in pretrained(self.encoder).items()}


class CoFiMA(Average):
    """After a step, theta <- ((1 - s) F_before before + s F theta) / ((1 - s) F_before + s F), s = average_share.

    F is the Fisher information of the weights after the step, F_before that of the weights after the previous step;
    both are at most fisher_limit.
    """

    needs = frozenset({"all_embeddings"})

    def end_step(self, step: Step) -> None:
        sentences = drawn_sentences(step, self.settings["fisher_sentences"])
        found = importance(self, sentences, self.drawn_log_likelihood)
        share, limit = self.settings["average_share"], self.settings["fisher_limit"]
        after = {name: values.clamp(max=limit) for name, values in found.items()}
        with torch.no_grad():
            for name, p in self.named_parameters():
                fisher = f"fisher.{name}"
                if name in self.before and name in after and fisher in self.carried:
                    p.copy_(weighted_mean(self.before[name], p, self.carried[fisher], after[name], share))
        for name, values in after.items():
            self.carried[f"fisher.{name}"] = values
        super(Average, self).end_step(step)


def weighted_mean(before: Tensor, after: Tensor, f_before: Tensor, f_after: Tensor, share: float) -> Tensor:
    """Return the mean of two tensors, weighted by ``share`` and information; by ``share`` alone without information."""
    left, right = (1 - share) * f_before, share * f_after
    total = left + right
    return torch.where(total > 0, (left * before + right * after) / total, before.lerp(after, share))
