"""ExtendNER: one growing softmax; labels teach the labelled words, and the previous model teaches all others."""

CARD = {
    "class": "ExtendNER",
    "architecture": "token",
    "first_step": "base",
    "year": 2021,
    "stores": "one copy of the model",
    "search": {"kd_weight": {"times": [0.1, 10]}, "temperature": {"low": 0.5, "high": 4.0}},
    "help": {
        "kd_weight": "weight of distillation from the previous model",
        "temperature": "temperature of distillation",
        "teacher_temperature": "temperature of the teacher's softmax, if it differs",
    },
    "variants": {
        "extendner": {
            "label": "ExtendNER",
            "settings": {"kd_weight": 1.0, "temperature": 1.0},
            "paper": "Monaikul et al., Continual Learning for Named Entity Recognition, AAAI 2021, as run beside "
            "SpanKL (arXiv 2302.12200)",
            "status": "re-implementation",
            "summary": "CE on words labelled with a new type, KL to the previous model on all other words.",
            "deviations": "As in SpanKL's comparison, the temperature is 1 and the schedule is the suite's. Two faults "
            "of SpanKL's code are not repeated: it reads wrong word vectors, and its Viterbi decoding equals argmax.",
        },
        "extendner-paper": {
            "label": "ExtendNER (T=2)",
            "settings": {"kd_weight": 1.0, "temperature": 2.0},
            "identities": {"extendner": {"temperature": 1.0}},
            "paper": "Monaikul et al., Continual Learning for Named Entity Recognition, AAAI 2021",
            "status": "from the paper",
            "summary": "ExtendNER with the original's distillation temperature of 2.",
            "deviations": "Epochs, learning rate and epoch selection are the recipe's, not the original's 20 epochs "
            "with patience 3. Both softmaxes have temperature 2; the loss is not multiplied by its square. The "
            "original's settings are known from secondary sources only.",
        },
        "extendner-cfner": {
            "label": "ExtendNER (CFNER)",
            "settings": {"kd_weight": 1.0, "temperature": 2.0, "teacher_temperature": 1.0},
            "identities": {"extendner": {"temperature": 1.0, "teacher_temperature": 1.0}},
            "paper": "Monaikul et al., AAAI 2021, as in the code of Zheng et al. (CFNER), EMNLP 2022",
            "status": "re-implementation",
            "summary": "ExtendNER with the temperatures of CFNER's code: student 2, teacher 1.",
            "deviations": "The loss is that of CFNER's code. Only the recipe cfner adds the cosine head, frozen old "
            "rows, imprinted new rows and SGD.",
        },
        "selftrain-cfner": {
            "label": "Self-Training (CFNER)",
            "settings": {"kd_weight": 1.0, "temperature": 2.0, "teacher_temperature": 0.01},
            "paper": "the Self-Training of the code of Zheng et al. (CFNER), EMNLP 2022",
            "year": 2022,
            "status": "re-implementation",
            "summary": "ExtendNER with a nearly one-hot teacher: temperature 2 for the student, 0.01 for the teacher.",
            "deviations": "The loss is that of CFNER's code. Only the recipe cfner adds the cosine head, frozen old "
            "rows, imprinted new rows and SGD.",
        },
        "extendner-codebase": {
            "label": "ExtendNER (w=2)",
            "settings": {"kd_weight": 2.0, "temperature": 1.0},
            "identities": {"extendner": {"kd_weight": 1.0}},
            "paper": "Monaikul et al., AAAI 2021, as in the code base of Zheng et al., ACL 2024, arXiv 2312.07887",
            "status": "re-implementation",
            "summary": "ExtendNER with the weight 2, as in the code base of Zheng et al. (2024).",
            "deviations": "The loss is that code base's, but the teacher has no dropout. The matching recipe is "
            "recall.",
        },
    },
}

import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, TagLearner
from cl_ner_bench.models.losses import categorical_kl


class ExtendNER(TagLearner):
    """Step 1: CE on all words. Later: CE on words of a new type + kd_weight * KL(teacher || student) on all others.

    Each term is a mean over its own words. The student's softmax runs over all tags, the teacher's over the old.
    """

    needs = frozenset({"teacher"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None:
            return super().losses(batch, output, teacher)
        target = self.targets(batch, teacher)
        new = target > 0
        losses = {}
        if new.any():
            losses["ce"] = F.cross_entropy(output.logits[new], target[new])
        if not new.all():
            temperature = self.settings["temperature"]
            ratio = temperature / self.settings.get("teacher_temperature", temperature)
            kl = categorical_kl(ratio * teacher.logits[~new], output.logits[~new], temperature)
            losses["kd"] = self.settings["kd_weight"] * kl.mean()
        return losses
