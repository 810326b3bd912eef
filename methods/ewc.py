"""Elastic weight consolidation: weights that mattered for earlier steps are held in place."""

CARD = {
    "ewc": {
        "label": "EWC",
        "class": "EWC",
        "architecture": "any",
        "settings": {"ewc_weight": 5000.0, "decay": 1.0, "sentences": 200},
        "paper": "Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 2017; online form of "
        "Schwarz et al., Progress & Compress, ICML 2018",
        "year": 2017,
        "status": "re-implementation",
        "summary": "The loss + ewc_weight / 2 * sum of importance * squared distance to the previous weights.",
        "stores": "two copies of the model (old weights, importance)",
        "deviations": "The importance is the mean over (at most ``sentences``) train sentences of the squared gradient "
        "of one sentence's log-likelihood, in evaluation mode, with labels drawn from the model. Rows of new types are "
        "free. The weight 5000 was not searched; unlabelled old types count as O.",
    }
}

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output, Step

OLD, IMPORTANCE = "old.", "importance."


class EWC(Learner):
    """The learner's loss + ewc_weight / 2 * sum over old parameters of importance * (theta - theta_old)^2."""

    needs = frozenset({"all_embeddings"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        penalties = [
            (self.carried[IMPORTANCE + name] * (p - self.carried[OLD + name]).square()).sum()
            for name, p in self.named_parameters()
            if OLD + name in self.carried
        ]
        if penalties and self.settings["ewc_weight"]:
            losses["ewc"] = self.settings["ewc_weight"] / 2 * torch.stack(penalties).sum()
        return losses

    def end_step(self, step: Step) -> None:
        parameters = {name: p for name, p in self.named_parameters() if p.requires_grad}
        chosen = torch.randperm(len(step.train))[: self.settings["sentences"]].tolist()
        squares = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.eval()
        for position in chosen:
            self.zero_grad()
            drawn_log_likelihood(self.architecture, self(step.batch([position])).logits).backward()
            for name, p in parameters.items():
                if p.grad is not None:
                    squares[name] += p.grad.square()
        self.zero_grad()
        for name, p in parameters.items():
            importance = squares[name] / max(1, len(chosen))
            if IMPORTANCE + name in self.carried:
                importance += self.settings["decay"] * self.carried[IMPORTANCE + name]
            self.carried[IMPORTANCE + name] = importance
            self.carried[OLD + name] = p.detach()


def drawn_log_likelihood(architecture: str, logits: Tensor) -> Tensor:
    """Return the log-likelihood of labels that are drawn from the model's own prediction."""
    if architecture == "token":
        drawn = torch.multinomial(logits.detach().softmax(1), 1)[:, 0]
        return -F.cross_entropy(logits, drawn, reduction="sum")
    return -F.binary_cross_entropy_with_logits(logits, torch.bernoulli(logits.detach().sigmoid()), reduction="sum")
