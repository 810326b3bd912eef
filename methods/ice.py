"""ICE: classifiers of the pretrained encoder's word vectors, with a fixed logit for O."""

CARD = {
    "architecture": "token",
    "group": "closed-form",
    "settings": {"compat": False},
    "recipes": {
        "ice": {
            "epochs": 15,
            "batch_size": 8,
            "lr": 1e-4,
            "head_lr": 1e-4,
            "weight_decay": 0.01,
            "decayed": "all",
            "schedule": "constant",
            "warmup_updates": 0,
            "warmup_share": 0.0,
            "clip": 0,
            "dropout": 0.1,
            "max_length": 512,
        }
    },
    "paper": "Liu and Huang, Teamwork Is Not Always Good: An Empirical Study of Classifier Drift in Class-incremental "
    "Information Extraction, ACL Findings 2023, arXiv 2305.16559",
    "year": 2023,
    "status": "re-implementation",
    "stores": "nothing",
    "deviations": "ICE is here a BIO tagger on word vectors, as in the code base of arXiv 2312.07887; the paper "
    "classifies given spans by the vectors of their ends. The frozen encoder runs without dropout. The logit of O is 0 "
    "in training and evaluation. With compat, evaluation uses a row that never learned, as in that code base. The "
    "classifiers are linear, with biases. Epochs and optimiser are the recipe's; at its head_lr the classifiers learn "
    "little in few updates (docs/recipes.md). Decoding is BIO-constrained.",
    "search": {"lr": None},
    "help": {"compat": "true: as in the released code, including its faults (see deviations)"},
    "variants": {
        "ice": {
            "label": "ICE",
            "class": "ICE",
            "summary": "The encoder is never trained; each step's classifier learns against O (logit 0) only.",
        },
        "ice-pl": {
            "label": "ICE-PL",
            "class": "ICEPL",
            "summary": "As ice, but each step's classifier also learns against the old classifiers, which are fixed.",
        },
    },
}

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner


class ICEPL(TagLearner):
    """CE on all words over all tags so far, with 0 as the logit of O; only the rows of the new types learn."""

    def begin_step(self, step: Step) -> None:
        self.freeze_encoder()
        self.head.freeze_unlabelled(step.labelled)

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        if self.settings["compat"] and not self.training:
            return output
        zeros = torch.zeros_like(output.logits[:, :1])
        return replace(output, logits=torch.cat([zeros, output.logits[:, 1:]], dim=1))


class ICE(ICEPL):
    """CE on all words over the tags of the step's types and O, with 0 as the logit of O."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        places = [self.head.types.index(t) for t in self.labelled]
        columns = torch.tensor([0, *(column for i in places for column in (1 + 2 * i, 2 + 2 * i))])
        logits = output.logits.index_select(1, columns.to(batch.device))
        return {"ce": F.cross_entropy(logits, batch.tag_targets(self.labelled))}
