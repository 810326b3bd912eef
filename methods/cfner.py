"""CFNER: words that are similar for the previous model share their predictions; it finds old types among O words."""

CARD = {
    "architecture": "token",
    "settings": {"kd_weight": 2.0, "weight_grows": True, "neighbours": 3, "compat": False},
    "paper": "Zheng et al., Distilling Causal Effect from Miscellaneous Other-Class for Continual Named Entity "
    "Recognition, EMNLP 2022, arXiv 2210.03980",
    "year": 2022,
    "status": "re-implementation",
    "stores": "one copy of the model",
    "recipes": {"recall": {"old_rows": "frozen"}},
    "search": {"kd_weight": {"times": [0.1, 10]}},
    "help": {
        "kd_weight": "weight of distillation from the previous model",
        "weight_grows": "true: the weight grows with the ratio of old to new types",
        "neighbours": "number of nearest words",
        "compat": "true: as in the released code, including its faults (see deviations)",
    },
    "variants": {
        "cfner": {
            "label": "CFNER",
            "class": "CFNER",
            "first_step": "base",
            "summary": "CE and distillation on the mean prediction of a word and of its nearest words in the previous "
            "model's space.",
            "deviations": "The loss is the release's, without its curriculum, which no released configuration uses. "
            "All words are candidates for neighbours; with compat, as released, only the first 5,000 if there are "
            "more, without equal vectors. The recipes cfner and recall freeze old rows; only cfner adds the cosine "
            "head, imprinted new rows and SGD.",
        },
        "cfner-codebase": {
            "label": "CFNER (code base)",
            "class": "CFNER",
            "first_step": "base",
            "settings": {"kd_weight": 2.0, "weight_grows": False, "neighbours": 3, "compat": True},
            "paper": "Zheng et al., EMNLP 2022, as in the code base of Zheng et al., ACL 2024, arXiv 2312.07887",
            "summary": "CFNER with compat and the weight 2 in all steps, as in the code base of Zheng et al. (2024).",
            "deviations": "The weight is that code base's; candidates for neighbours are as in cfner with compat. Not "
            "repeated: that code base encodes neighbours with padding, and never distils words whose gold type is old. "
            "The matching recipe is recall.",
        },
    },
}

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner
from cl_ner_bench.models.losses import categorical_kl

RELEASED_CANDIDATES = 5000
_CHUNK = 1024


class CFNER(TagLearner):
    """-ln r(y) on labelled words + kd_weight * sqrt(old / new tags) * L on all others, each a mean over its words.

    Unless ``weight_grows``, the root is left out.

    r is the mean of the word's own prediction p and of q, the mean prediction of its ``neighbours`` nearest words. The
    current model makes q in evaluation mode, without gradient. If the previous model gives a word an old tag c, L is
    -ln r(c), and q is a softmax over O and the old tags alone. For any other word, L is KL(teacher || p).

    Nearness is the cosine of the previous model's word vectors, computed once per step. The neighbours of a labelled
    word are labelled words; those of a word with an old tag have an old tag.
    """

    needs = frozenset({"teacher", "features"})

    def begin_step(self, step: Step) -> None:
        if step.teacher is None:
            return
        lengths = torch.tensor([example.length for example in step.examples])
        sentence = torch.arange(len(lengths)).repeat_interleave(lengths)
        # The row of a word is its position among all train words.
        self.first, self.sentence = (lengths.cumsum(0) - lengths).to(self.device), sentence.to(self.device)
        self.train_batch = step.batch
        found: dict[str, list[tuple[Tensor, Tensor]]] = {"labelled": [], "old": []}
        for batch in step.batches():
            teacher, gold = step.teacher(batch), batch.tag_targets(self.head.types)
            assert teacher.words is not None
            rows, unit = self._rows_of(batch), F.normalize(teacher.words)
            old = (gold == 0) & (teacher.logits.argmax(1) > 0)
            for name, chosen in (("labelled", gold > 0), ("old", old)):
                found[name].append((rows[chosen], unit[chosen]))
        k = self.settings["neighbours"]
        self.near = torch.full((len(self.sentence), k), -1, device=self.device)  # rows of neighbours; -1: has none
        for parts in found.values():
            rows, order = torch.cat([rows for rows, _ in parts]).sort()
            vectors = torch.cat([unit for _, unit in parts])[order]
            self.near[rows] = rows[nearest(vectors, k, RELEASED_CANDIDATES if self.settings["compat"] else None)]

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None:
            return super().losses(batch, output, teacher)
        target, near, p = self.targets(batch, teacher), self.near[self._rows_of(batch)], output.logits.softmax(1)
        labelled, n_old, causal = target > 0, teacher.logits.shape[1], near[:, 0] >= 0
        old, other = causal & ~labelled, ~causal
        around = self._predicted(near[causal]) if causal.any() else output.logits[:0, None]
        losses = {}
        if labelled.any():
            q = around[labelled[causal]].softmax(-1).mean(1)
            losses["ce"] = _minus_log(p[labelled], q, target[labelled]).mean()
        if not labelled.all():
            q = around[old[causal]][..., :n_old].softmax(-1).mean(1)
            hidden = _minus_log(p[old, :n_old], q, teacher.logits[old].argmax(1))
            rest = categorical_kl(teacher.logits[other], output.logits[other])
            growth = math.sqrt((n_old - 1) / max(1, p.shape[1] - n_old)) if self.settings["weight_grows"] else 1.0
            losses["kd"] = self.settings["kd_weight"] * growth * torch.cat([hidden, rest]).mean()
        return losses

    def _rows_of(self, batch: Batch) -> Tensor:
        """Return the rows of the words of train sentences ``[words]``."""
        starts = self.first.cpu().tolist()
        spans = [torch.arange(n) + starts[e.index] for e, n in zip(batch.examples, batch.lengths, strict=True)]
        return torch.cat(spans).to(self.device)

    def _predicted(self, rows: Tensor) -> Tensor:
        """Return the current model's logits ``[.., columns]`` of train words."""
        sentences, place = self.sentence[rows].unique(return_inverse=True)
        [(batch, output)] = self.outputs([self.train_batch(sentences.cpu().tolist())])
        lengths = torch.tensor(batch.lengths).to(self.device)
        return output.logits[(lengths.cumsum(0) - lengths)[place] + rows - self.first[sentences][place]]


def nearest(vectors: Tensor, k: int, limit: int | None = None) -> Tensor:
    """Return the rows of the ``k`` nearest other vectors of each unit vector ``[rows, k]``, the nearest first.

    If there are fewer other vectors, the row itself fills the last places.

    Args:
        limit: if there are more vectors, only the first ``limit`` are candidates, and equal vectors are no neighbours
            (as in the release).
    """
    capped = limit is not None and len(vectors) > limit
    candidates = vectors[:limit] if capped else vectors
    all_rows, found = torch.arange(len(vectors), device=vectors.device), []
    for rows in all_rows.split(_CHUNK):
        likeness = vectors[rows] @ candidates.T
        excluded = likeness > 1 - 1e-6 if capped else all_rows == rows[:, None]
        top = likeness.masked_fill(excluded, -2.0).topk(min(k, len(candidates))).indices
        found.append(torch.cat([top, rows[:, None].expand(-1, k - top.shape[1])], dim=1))
    return torch.cat(found) if found else all_rows.new_empty(0, k)


def _minus_log(p: Tensor, q: Tensor, tags: Tensor) -> Tensor:
    return -((p + q).gather(1, tags[:, None])[:, 0] / 2 + 1e-10).log()
