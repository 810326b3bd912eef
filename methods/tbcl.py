"""TBCL: the prediction of old types must not depend on the presence of new mentions."""

CARD = {
    "tbcl": {
        "label": "TBCL",
        "class": "TBCL",
        "architecture": "token",
        "recipes": {"cfner": {"first_lr": 4e-4}},
        "settings": {"kd_weight": 2.0, "consistency_weight": 0.01, "compat": False},
        "search": {"kd_weight": {"times": [0.1, 10]}, "consistency_weight": {"times": [0.1, 10]}},
        "help": {
            "kd_weight": "weight of distillation from the previous model",
            "consistency_weight": "weight of the distance between predictions on a sentence and its masked copy",
            "compat": "true: as in the released code, including its faults (see deviations)",
        },
        "paper": "arXiv 2608.31038 (TBCL)",
        "year": 2026,
        "status": "from the paper",
        "summary": "RDP's pseudo-labels and distillation on a sentence and on a copy without new mentions + distance "
        "of both predictions on old words.",
        "stores": "one copy of the model",
        "deviations": "The paper does not state the weight of distillation (here RDP's 2) or the replacement of "
        "labelled words (here one mask token each). The copy's terms are means over its other words. Distillation is "
        "cross-entropy among O and old tags only; among all tags it would forbid the new ones. The consistency term is "
        "a sum over the words of a batch, so its weight belongs to the paper's batches of 8. With compat, prototypes "
        "are as in RDP's release. Only the recipe cfner adds the cosine head and SGD.",
    }
}

from dataclasses import replace

import torch.nn.functional as F
from cl_ner_bench.methods.rdp import RDP
from torch import Tensor

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.learner import Batch, Output, Step


class TBCL(RDP):
    """R(sentence) + R(copy) + consistency_weight * sum of |p - p_copy|^2 over words with an old pseudo-label.

    The copy has a mask token in place of each labelled word; these words are left out of R(copy). The teacher computes
    outputs for the copy, too. R is CE with labels and RDP's pseudo-labels + kd_weight * the cross-entropy between the
    teacher's and the student's probabilities among O and the old tags, both means over words.
    """

    needs = frozenset({"teacher", "features", "all_embeddings"})

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        if step.teacher is None:
            return
        tokeniser = self.encoder.tokeniser
        if tokeniser.mask is None:
            raise UserError(
                f"tbcl replaces words by a mask token, which the tokenizer of {self.encoder.info.name} does not name "
                "(mask_token in tokenizer_config.json). Use another --encoder."
            )
        copies = []
        for example in step.examples:
            words = list(example.sentence.words)
            for start, end, _ in example.sentence.mentions:
                words[start:end] = [tokeniser.mask] * (end - start)
            copies.append(tuple(words))
        self.copies = tuple(
            replace(example, sentence=replace(example.sentence, words=words), tokens=tokens)
            for example, words, tokens in zip(step.examples, copies, tokeniser.tokenise(copies), strict=True)
        )
        self.ask_teacher = step.teacher

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None:
            return super().losses(batch, output, teacher)
        target, unlabelled = self.targets(batch, teacher), batch.tag_targets(self.head.types) == 0
        losses = {"ce": F.cross_entropy(output.logits, target), "kd": self._distilled(output.logits, teacher.logits)}
        if unlabelled.any():
            copy = Batch(tuple(self.copies[example.index] for example in batch.examples), batch.device)
            told, again = self.ask_teacher(copy), self(copy)
            pseudo, logits = self.targets(copy, told)[unlabelled], again.logits[unlabelled]
            losses["copy_ce"] = F.cross_entropy(logits, pseudo)
            losses["copy_kd"] = self._distilled(logits, told.logits[unlabelled])
            old = unlabelled & (target > 0)
            distance = output.logits[old].softmax(1) - again.logits[old].softmax(1)
            losses["consistency"] = self.settings["consistency_weight"] * distance.square().sum()
        return losses

    def _distilled(self, student: Tensor, teacher: Tensor) -> Tensor:
        ce = F.cross_entropy(student[:, : teacher.shape[1]], teacher.softmax(1))
        return self.settings["kd_weight"] * ce
