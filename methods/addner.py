"""AddNER: a softmax of its own, with an O of its own, for the types of each step."""

CARD = {
    "architecture": "token",
    "paper": "Monaikul et al., Continual Learning for Named Entity Recognition, AAAI 2021, as run beside SpanKL (arXiv "
    "2302.12200)",
    "year": 2021,
    "status": "re-implementation",
    "deviations": "As in SpanKL's comparison, the temperature is 1 and the schedule is the suite's. Terms are means "
    "over words; with compat, as released, also over the padding of shorter sentences, where they are 0. If a step "
    "labels old types only, no head is added and their heads learn again.",
    "search": {"kd_weight": {"times": [0.1, 10]}},
    "help": {
        "kd_weight": "weight of distillation from the previous model",
        "compat": "true: as in the released code, including its faults (see deviations)",
    },
    "variants": {
        "addner": {
            "label": "AddNER",
            "class": "AddNER",
            "settings": {"kd_weight": 1.0, "compat": False},
            "summary": "Each step's types have their own head: CE on the newest head, KL to the previous model on the "
            "others.",
            "stores": "one copy of the model",
        },
        "addner-joint": {
            "label": "AddNER, joint",
            "class": "JointAddNER",
            "data": "union",
            "start": "previous",
            "group": "reference",
            "settings": {"compat": False},
            "summary": "Upper reference of AddNER: CE trains each of its heads on all data so far with all labels.",
            "stores": "all data",
        },
    },
}

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, TagLearner
from cl_ner_bench.learning.likelihood import of_drawn_classes
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.heads.growing import GrowingHead, Init
from cl_ner_bench.models.heads.tag import TagHead
from cl_ner_bench.models.losses import categorical_kl, open_ce


class SeparateHeads(TagHead):
    """A head whose k-th block has the columns ``[O, B-x, I-x, ...]`` of the k-th growth alone."""

    @property
    def n_columns(self) -> int:
        return sum(1 + 2 * len(types) for types in self.grown)

    def grow(self, types: Sequence[str], init: Init) -> None:
        rows = [self._rows(1, init("/".join(("O", *types)))), *(self._rows(2, init(t)) for t in types)]
        self._add(types, torch.cat([w for w, _ in rows]), torch.cat([b for _, b in rows]))


class AddNER(TagLearner):
    """CE(heads with a labelled type) + kd_weight * KL(teacher || student) on other heads, both means over heads.

    A head's terms are means over all words; the types of other heads are O for it. If only some of a head's types are
    labelled, a word without a label may be of one of its other types: CE leaves that open.
    """

    needs = frozenset({"teacher"})

    def make_head(self) -> GrowingHead:
        return SeparateHeads(self.encoder.hidden_size)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        ce, kl = [], []
        for types, logits, told in self._heads(output, teacher):
            if any(t in self.labelled for t in types):
                ce.append(self._open_ce(batch, types, logits))
            elif told is not None:
                kl.append(categorical_kl(told, logits).mean())
        n = batch.lengths
        scale = sum(n) / (len(n) * max(n)) if self.settings["compat"] else 1.0
        losses = {"ce": scale * torch.stack(ce).mean()}
        if kl:
            losses["kd"] = scale * self.settings["kd_weight"] * torch.stack(kl).mean()
        return losses

    def open_loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy that leaves unlabelled types open, mean over heads."""
        return torch.stack([self._open_ce(batch, types, logits) for types, logits, _ in self._heads(output)]).mean()

    def log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        return len(self.head.grown) * super().log_likelihood(batch, output)

    def drawn_log_likelihood(self, batch: Batch, output: Output) -> Tensor:
        return torch.stack([of_drawn_classes(logits) for _, logits, _ in self._heads(output)]).sum()

    def _open_ce(self, batch: Batch, types: Sequence[str], logits: Tensor) -> Tensor:
        return open_ce(logits, batch.tag_targets(types), batch.open_tags(types, self.labelled))

    def decode(
        self, output: Output, lengths: Sequence[int], types: Sequence[str], nested: bool
    ) -> list[list[Prediction]]:
        best = [logits.double().softmax(1).max(1) for _, logits, _ in self._heads(output)]
        probabilities = torch.stack([b.values for b in best], dim=1).cpu()
        tags = torch.stack([b.indices for b in best], dim=1).cpu()
        found = []
        for own, sure in zip(tags.split(list(lengths)), probabilities.split(list(lengths)), strict=True):
            mentions: list[Prediction] = []
            for word, (head, tag) in enumerate(merge(own.tolist(), sure.tolist())):
                if tag % 2:
                    mentions.append(
                        Prediction(word, word + 1, self.head.grown[head][tag // 2], sure[word, head].item())
                    )
                elif tag:
                    start, _, type, score = mentions[-1]
                    mentions[-1] = Prediction(start, word + 1, type, score * sure[word, head].item())
            found.append([m for m in mentions if m.type in types])
        return found

    def _heads(
        self, output: Output, teacher: Output | None = None
    ) -> Iterator[tuple[tuple[str, ...], Tensor, Tensor | None]]:
        """Yield the types and logits of each head, and the teacher's logits (None for a head that it lacks)."""
        begin = 0
        for types in self.head.grown:
            columns = slice(begin, begin + 1 + 2 * len(types))
            known = teacher is not None and begin < teacher.logits.shape[1]
            yield types, output.logits[:, columns], teacher.logits[:, columns] if teacher and known else None
            begin = columns.stop


class JointAddNER(AddNER):
    """CE of every head, mean over heads: the data layer gives it the labels of all types so far."""

    needs = frozenset()


def merge(tags: Sequence[Sequence[int]], probabilities: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Return the (head, tag) of each word of a sentence, from the best tags of all heads and their probabilities.

    A word gets the I- that continues the merged tag of the word before, if the same head gives it. Otherwise it gets
    the most probable B- (the later head's among equals), or (0, 0), which is O.
    """
    merged = [(0, 0)]
    for row, sure in zip(tags, probabilities, strict=True):
        before, last = merged[-1]
        inside = last + last % 2  # the I- tag that may follow; 0 after O
        begins = [(sure[head], head) for head, tag in enumerate(row) if tag % 2]
        if inside and row[before] == inside:
            merged.append((before, inside))
        elif begins:
            _, head = max(begins)
            merged.append((head, row[head]))
        else:
            merged.append((0, 0))
    return merged[1:]
