"""MagMax and TIES: what the encoder learned in each step is a vector, and the model is made from all of them."""

CARD = {
    "architecture": "any",
    "status": "re-implementation",
    "search": {"vector_scale": {"times": [0.2, 2]}},
    "help": {
        "vector_scale": "factor on the merged change of all steps",
        "kept_share": "share of a step's changes to keep (the largest)",
    },
    "variants": {
        "magmax": {
            "label": "MagMax",
            "class": "MagMax",
            "settings": {"vector_scale": 0.5},
            "paper": "Marczak et al., MagMax: Leveraging Model Merging for Seamless Continual Learning, ECCV 2024",
            "year": 2024,
            "summary": "The encoder is pretrained + vector_scale * the largest change of each weight in any step.",
            "stores": "two copies of the encoder (last learned, largest changes)",
            "deviations": "Only the encoder is merged. The head has no pretrained weights, stays as learned and has "
            "not seen the merged encoder (the paper's heads are fixed text vectors). The scale 0.5 is the paper's for "
            "new classes and was not tuned. Expected: below the method average.",
        },
        "ties": {
            "label": "TIES",
            "class": "TIES",
            "settings": {"vector_scale": 1.0, "kept_share": 0.2},
            "paper": "Yadav et al., TIES-Merging: Resolving Interference When Merging Models, NeurIPS 2023; steps in "
            "sequence as in Marczak et al. (MagMax), ECCV 2024",
            "year": 2023,
            "summary": "The encoder is pretrained + vector_scale * the mean of each weight's largest changes that "
            "agree in sign.",
            "stores": "one copy of the encoder for each step, and the last learned one",
            "deviations": "As magmax. The scale 1 and the kept share 0.2 are the paper's and were not tuned. Expected: "
            "below the method average.",
        },
    },
}

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Learner, Step
from cl_ner_bench.learning.pretrained import pretrained


class TaskVectors(Learner):
    """After step t, the encoder is theta_0 + vector_scale * merged(tau_1 .. tau_t), tau_k = theta_k - theta_0.

    The next step goes on from theta_t, which is carried.
    """

    start: dict[str, Tensor]

    def begin_step(self, step: Step) -> None:
        for name, p in self.encoder.named_parameters():
            if f"learned.{name}" in self.carried:
                p.data.copy_(self.carried[f"learned.{name}"])
        super().begin_step(step)
        self.start = pretrained(self.encoder)

    def end_step(self, step: Step) -> None:
        start = self.start
        learned = {name: p.data for name, p in self.encoder.named_parameters()}
        merged = self.merged({name: values - start[name] for name, values in learned.items()})
        for name, values in learned.items():
            self.carried[f"learned.{name}"] = values
            values.copy_(start[name] + self.settings["vector_scale"] * merged[name])
        super().end_step(step)  # last, because it may measure the final weights

    def merged(self, vector: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the merged vectors of all steps by parameter; ``vector`` is the latest."""
        raise NotImplementedError


class MagMax(TaskVectors):
    """For each coordinate, the change of the largest magnitude in any step."""

    def merged(self, vector: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, values in vector.items():
            known = f"vector.{name}"
            self.carried[known] = largest(self.carried[known], values) if known in self.carried else values
        return {name: self.carried[f"vector.{name}"] for name in vector}


class TIES(TaskVectors):
    """The largest kept_share of coordinates of each vector, merged by agreement.

    A merged coordinate is the mean of the kept values that have the sign of their sum.
    """

    def merged(self, vector: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, values in trimmed(vector, self.settings["kept_share"]).items():
            self.carried[f"vector.{self.step}.{name}"] = values
        steps = range(1, self.step + 1)
        return {
            name: agreeing_mean(torch.stack([self.carried[f"vector.{k}.{name}"] for k in steps])) for name in vector
        }


def largest(one: Tensor, other: Tensor) -> Tensor:
    """Return the element of larger magnitude."""
    return torch.where(one.abs() >= other.abs(), one, other)


def trimmed(vector: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the vector with all but its largest ``share`` of coordinates, over all parameters, set to 0."""
    sizes = torch.cat([values.abs().flatten() for values in vector.values()])
    left_out = len(sizes) - round(share * len(sizes))
    limit = sizes.kthvalue(left_out).values if left_out else -1.0
    return {name: values.where(values.abs() > limit, 0.0) for name, values in vector.items()}


def agreeing_mean(vectors: Tensor) -> Tensor:
    """Return the mean over ``vectors`` ``[n, ...]`` of the nonzero elements that have the sign of their sum."""
    agree = (vectors.sign() == vectors.sum(0).sign()) & (vectors != 0)
    return (vectors * agree).sum(0) / agree.sum(0).clamp(min=1)
