"""Learning without Forgetting: cross-entropy on all words, and distillation on the old columns of all words."""

CARD = {
    "lwf": {
        "label": "LwF",
        "class": "LwF",
        "architecture": "token",
        "first_step": "base",
        "settings": {"kd_weight": 1.0, "temperature": 2.0},
        "search": {"kd_weight": {"times": [0.1, 10]}, "temperature": {"low": 0.5, "high": 4.0}},
        "help": {
            "kd_weight": "weight of distillation from the previous model",
            "temperature": "temperature of distillation",
        },
        "identities": {"base": {"kd_weight": 0.0}},
        "paper": "Li and Hoiem, Learning without Forgetting, ECCV 2016",
        "year": 2016,
        "status": "re-implementation",
        "summary": "CE on all words (unlabelled old types are O) + T^2 * KL to the previous model over the old "
        "columns.",
        "stores": "one copy of the model",
        "deviations": "The task is tagging: unlabelled words count as O, unlike in ExtendNER. The weight 1 and the "
        "temperature 2 were not tuned. The head is not trained alone at first.",
    }
}

import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, TagLearner


class LwF(TagLearner):
    """CE(all words) + kd_weight * T^2 * KL(teacher || student) over the old columns alone, mean over all words."""

    needs = frozenset({"teacher"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        if teacher is not None:
            temperature = self.settings["temperature"]
            old = output.logits[:, : teacher.logits.shape[1]]
            kl = F.kl_div(
                F.log_softmax(old / temperature, dim=1),
                F.log_softmax(teacher.logits / temperature, dim=1),
                reduction="batchmean",
                log_target=True,
            )
            losses["kd"] = self.settings["kd_weight"] * temperature**2 * kl
        return losses
