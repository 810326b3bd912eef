"""LoRA and O-LoRA: the encoder stays as it is; adapters of low rank learn."""

CARD = {
    "architecture": "any",
    "status": "re-implementation",
    "settings": {
        "lora_rank": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,
        "lora_lr": 1e-2,
        "lora_modules": ["query", "value"],
    },
    "search": {"lr": None, "lora_lr": {"times": [0.1, 10]}},
    "help": {
        "lora_rank": "rank of the adapters",
        "lora_alpha": "the adapters are scaled by lora_alpha / lora_rank",
        "lora_dropout": "dropout before the adapters",
        "lora_lr": "learning rate of the adapters",
        "lora_modules": "names of the encoder's linear layers that get an adapter",
        "orthogonal_weight": "weight of the overlap with earlier adapters",
    },
    "variants": {
        "lora": {
            "label": "LoRA",
            "class": "LoRA",
            "paper": "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, arXiv 2106.09685",
            "year": 2022,
            "summary": "The pretrained encoder is frozen; all steps train one adapter and the head.",
            "stores": "nothing",
            "deviations": "Rank, alpha and dropout are those of the code base of arXiv 2312.07887. Adapters learn at "
            "lora_lr, whatever the recipe's rate of the encoder. The rate 1e-2 is the best of 1e-3, 5e-3 and 1e-2 "
            "after one step of 240 generated sentences; nothing else was tuned. With the head rate of the recipe "
            "comparison, token models found nothing in 500 sentences of Few-NERD (one run): give ten times that rate "
            "(head_lr), or a lower lora_lr. Expected: as the method without LoRA, with less learning.",
        },
        "o-lora": {
            "label": "O-LoRA",
            "class": "OLoRA",
            "settings": {
                "lora_rank": 4,
                "lora_alpha": 8,
                "lora_dropout": 0.1,
                "lora_lr": 1e-2,
                "lora_modules": ["query", "value"],
                "orthogonal_weight": 0.5,
            },
            "paper": "Wang et al., Orthogonal Subspace Learning for Language Model Continual Learning, EMNLP Findings "
            "2023, arXiv 2310.14152",
            "year": 2023,
            "summary": "Each step has an adapter, with a penalty on its overlap with earlier ones; all adapters are "
            "summed.",
            "stores": "an adapter for each step",
            "deviations": "The task is NER, not generation. The penalty is a sum over layers and entries, as in the "
            "release, so it grows with rank and depth. The size of the adapters has no penalty. The weight 0.5 was not "
            "tuned. Expected: as lora; the head forgets as it does without adapters.",
        },
    },
}

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.learner import Batch, Learner, Output
from cl_ner_bench.models.heads.growing import Init


class LowRank(Learner):
    """A learner with adapters W + alpha / rank * B A on linear layers of the frozen encoder; B begins at 0."""

    def add_adapter(self, name: str) -> None:
        """Add an adapter, which alone learns; earlier adapters stay in the sum."""
        from peft import LoraConfig, inject_adapter_in_model  # takes seconds, so imported only when needed

        settings = self.settings
        config = LoraConfig(
            r=settings["lora_rank"],
            lora_alpha=settings["lora_alpha"],
            lora_dropout=settings["lora_dropout"],
            target_modules=settings["lora_modules"],
        )
        known = next((list(layer.lora_A) for layer in self.adapted()), [])
        try:
            with warnings.catch_warnings(action="ignore"):  # there may be several adapters
                inject_adapter_in_model(config, self.encoder.backbone, adapter_name=name)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"lora_modules is {settings['lora_modules']}: {reason} Name linear layers of the encoder."
            ) from error
        for layer in self.adapted():
            layer.set_adapter([*known, name])
        self.encoder.requires_grad_(False)
        for parameter_name, p in self.encoder.named_parameters():
            p.requires_grad_(f".{name}." in parameter_name)

    def adapted(self) -> Iterator[Any]:
        """Yield the adapted layers of the encoder."""
        from peft.tuners.lora import LoraLayer

        return (module for module in self.encoder.backbone.modules() if isinstance(module, LoraLayer))

    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return super().parameter_groups(self.settings["lora_lr"], head_lr, weight_decay)


class LoRA(LowRank):
    """The method's loss; in the encoder only one adapter learns, through all steps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_adapter("lora")


class OLoRA(LowRank):
    """The method's loss + orthogonal_weight * sum over layers and old steps of |A_old A_new^T|, summed over entries.

    Each step adds an adapter, and only this one learns.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_adapter("step1")  # adapting layers renames their weights, which grow may not do

    def grow(self, types: Sequence[str], init: Init) -> None:
        super().grow(types, init)
        if self.grown:
            self.add_adapter(f"step{len(self.grown) + 1}")

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        overlaps = []
        for layer in self.adapted():
            *old, new = layer.lora_A.values()
            overlaps += [(a.weight @ new.weight.T).abs().sum() for a in old]
        if overlaps and self.settings["orthogonal_weight"]:
            losses["orthogonal"] = self.settings["orthogonal_weight"] * torch.stack(overlaps).sum()
        return losses
