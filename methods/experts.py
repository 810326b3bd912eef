"""Experts: each step adds an adapter and a head, and all of them predict."""

CARD = {
    "status": "baseline",
    "settings": {
        "lora_rank": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,
        "lora_lr": 1e-2,
        "lora_modules": ["query", "value"],
    },
    "paper": "adapters of Hu et al., LoRA, ICLR 2022, arXiv 2106.09685; merging of tags as in Monaikul et al. "
    "(AddNER), AAAI 2021",
    "year": 2022,
    "stores": "an adapter and a head for each step",
    "deviations": "An expert learns only in the step that adds it; labels of a type that comes back teach no expert. "
    "The learning rate is that of lora; nothing else was tuned. Expected: no forgetting, but mentions of other types "
    "become false positives, and prediction takes one pass through the encoder for each step. This is the most that "
    "isolation of steps can reach.",
    "search": {"lr": None, "lora_lr": {"times": [0.1, 10]}},
    "help": {
        "lora_rank": "rank of the adapters",
        "lora_alpha": "the adapters are scaled by lora_alpha / lora_rank",
        "lora_dropout": "dropout before the adapters",
        "lora_lr": "learning rate of the adapters",
        "lora_modules": "names of the encoder's linear layers that get an adapter",
    },
    "variants": {
        "experts-token": {
            "label": "Experts (token)",
            "class": "ExpertsToken",
            "architecture": "token",
            "summary": "Each step has an adapter and a softmax with its own O; the steps' tags are merged word by "
            "word.",
        },
        "experts-span": {
            "label": "Experts (span)",
            "class": "ExpertsSpan",
            "architecture": "span",
            "summary": "Each step has an adapter and its own columns; of overlapping spans, the highest score wins.",
        },
    },
}

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, SpanLearner, Step
from cl_ner_bench.models.heads.growing import Init

from .addner import AddNER
from .lora import LowRank


class Experts(LowRank):
    """The k-th block of logits comes from the encoder with the k-th adapter alone; only the newest expert learns."""

    needs = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_adapter("expert1")  # adapting layers renames their weights, which grow may not do

    @property
    def trains(self) -> bool:
        return bool(self.grown[-1])

    def grow(self, types: Sequence[str], init: Init) -> None:
        super().grow(types, init)
        if types and (number := len(self._columns())) > 1:
            self.add_adapter(f"expert{number}")
            self._use(number)

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        self.head.freeze_unlabelled(self.grown[-1])

    def forward(self, batch: Batch) -> Output:
        """Return the logits of all experts; in training only those of the newest, and 0 for the others."""
        parts, words, columns = [], torch.empty(0), self._columns()
        for k, own in enumerate(columns, 1):
            if self.training and k < len(columns):
                parts.append(torch.zeros(sum(self.rows(batch.lengths)), own.stop - own.start, device=batch.device))
                continue
            self._use(k)
            words = self.encoder.dropout(self.encode(batch), self.dropout if self.training else 0.0)
            with self._precision():
                parts.append(self.head(words, batch.lengths)[:, own])
        return Output(torch.cat(parts, dim=1), words)

    def _use(self, expert: int) -> None:
        """Switch to the adapter of an expert (from 1). Frozen weights stay frozen, and learning ones keep learning."""
        for layer in self.adapted():
            learning = [(p, p.requires_grad) for p in layer.parameters()]
            layer.set_adapter([f"expert{expert}"])  # also freezes all others and unfreezes this one
            for p, learns in learning:
                p.requires_grad_(learns)

    def _columns(self) -> list[slice]:
        """Return the columns of each expert."""
        raise NotImplementedError


class ExpertsToken(Experts, AddNER):
    """CE of the newest head, for which all types but its own are O."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(output.logits[:, self._columns()[-1]], batch.tag_targets(self.grown[-1]))}

    def _columns(self) -> list[slice]:
        return _consecutive([1 + 2 * len(types) for types in self.head.grown])


class ExpertsSpan(Experts, SpanLearner):
    """BCE of the newest columns."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"bce": self.bce(batch, output, self.grown[-1])}

    def _columns(self) -> list[slice]:
        return _consecutive([len(types) for types in self.head.grown])


def _consecutive(sizes: Sequence[int]) -> list[slice]:
    stops = torch.tensor(sizes).cumsum(0).tolist()
    return [slice(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]
