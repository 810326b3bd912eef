"""EWC and MAS: weights that mattered for earlier steps are held in place."""

CARD = {
    "architecture": "any",
    "status": "re-implementation",
    "stores": "two copies of the model (old weights, importance)",
    "search": {"ewc_weight": {"times": [0.01, 100]}, "mas_weight": {"times": [0.01, 100]}},
    "help": {
        "ewc_weight": "weight of the penalty",
        "ewc_decay": "factor on the importance of earlier steps",
        "ewc_sentences": "largest number of train sentences for measuring the importance",
        "ewc_labels": "labels of the likelihood: drawn (from the model) or given (in train)",
        "mas_weight": "weight of the penalty",
        "mas_decay": "factor on the importance of earlier steps",
        "mas_sentences": "largest number of train sentences for measuring the importance",
    },
    "variants": {
        "ewc": {
            "label": "EWC",
            "class": "EWC",
            "settings": {"ewc_weight": 5000.0, "ewc_decay": 1.0, "ewc_sentences": 200, "ewc_labels": "drawn"},
            "identities": {"base": {"ewc_weight": 0.0}},
            "paper": "Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 2017; online "
            "form of Schwarz et al., Progress & Compress, ICML 2018",
            "year": 2017,
            "summary": "The loss + ewc_weight / 2 * sum of importance * squared distance to the previous weights.",
            "deviations": "The importance is the mean squared gradient of the log-likelihood of single sentences, over "
            "at most ewc_sentences train sentences, in evaluation mode. Labels are drawn from the model (ewc_labels "
            '"drawn") or are the given ones ("given"). The code base of arXiv 2312.07887 squares the mean gradient of '
            "a batch, with dropout, and has no EWC for NER. Rows of new types have no penalty. The weight 5000 is that "
            "code base's and was not tuned. Expected: near fine-tuning if old types are negatives in the loss, because "
            "the penalty does not know that they are mentions.",
        },
        "mas": {
            "label": "MAS",
            "class": "MAS",
            "settings": {"mas_weight": 1.0, "mas_decay": 1.0, "mas_sentences": 200},
            "identities": {"base": {"mas_weight": 0.0}},
            "paper": "Aljundi et al., Memory Aware Synapses: Learning what (not) to forget, ECCV 2018",
            "year": 2018,
            "summary": "As EWC, but the importance is the mean absolute gradient of the sum of squared logits.",
            "deviations": "The sum of squared logits is a mean over a sentence's words or spans, so long sentences do "
            "not outweigh short ones. At most mas_sentences train sentences count. Rows of new types have no penalty. "
            "The weight 1 was not tuned. Expected: as ewc.",
        },
    },
}

import torch
from torch import Tensor

from cl_ner_bench.learning.importance import drawn_sentences, importance
from cl_ner_bench.learning.learner import Batch, Learner, Output, Step


class EWC(Learner):
    """The loss + ewc_weight / 2 * sum over old parameters of F * (theta - theta_old)^2.

    After each step, F <- ewc_decay * F + the mean squared gradient of single sentences' log-likelihoods.
    """

    needs = frozenset({"all_embeddings"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return super().losses(batch, output, teacher) | penalty(self, "ewc")

    def end_step(self, step: Step) -> None:
        super().end_step(step)
        likelihood = self.drawn_log_likelihood if self.settings["ewc_labels"] == "drawn" else self.log_likelihood
        sentences = drawn_sentences(step, self.settings["ewc_sentences"])
        consolidate(self, "ewc", importance(self, sentences, likelihood))


class MAS(Learner):
    """The loss + mas_weight / 2 * sum over old parameters of Omega * (theta - theta_old)^2.

    After each step, Omega <- mas_decay * Omega + mean over sentences of |d mean_i ||z_i||^2 / d theta|, with the logits
    z_i of word or span i.
    """

    needs = frozenset({"all_embeddings"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return super().losses(batch, output, teacher) | penalty(self, "mas")

    def end_step(self, step: Step) -> None:
        super().end_step(step)
        sentences = drawn_sentences(step, self.settings["mas_sentences"])
        consolidate(self, "mas", importance(self, sentences, _squared_norm, torch.abs))


def penalty(learner: Learner, name: str) -> dict[str, Tensor]:
    """Return the penalty by its name; nothing without old weights or with a weight of 0."""
    weight, carried = learner.settings[f"{name}_weight"], learner.carried
    distances = [
        (carried[f"{name}.importance.{key}"] * (p - carried[f"{name}.old.{key}"]).square()).sum()
        for key, p in learner.named_parameters()
        if f"{name}.old.{key}" in carried
    ]
    return {name: weight / 2 * torch.stack(distances).sum()} if weight and distances else {}


def consolidate(learner: Learner, name: str, found: dict[str, Tensor]) -> None:
    """Carry the present weights, and add ``found`` to their decayed importance."""
    carried = learner.carried
    for key, p in learner.named_parameters():
        if key in found:
            before = f"{name}.importance.{key}"
            decayed = learner.settings[f"{name}_decay"] * carried[before] if before in carried else 0.0
            carried[before] = found[key] + decayed
            carried[f"{name}.old.{key}"] = p


def _squared_norm(batch: Batch, output: Output) -> Tensor:
    return output.logits.square().sum(1).mean()
