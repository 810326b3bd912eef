"""Analytic learning: a frozen encoder, random features, and ridge regression in closed form."""

CARD = {
    "group": "closed-form",
    "composes": False,
    "paper": "McDonnell et al., RanPAC: Random Projections and Pre-trained Models for Continual Learning, NeurIPS "
    "2023; Zhuang et al., ACIL: Analytic Class-Incremental Learning, NeurIPS 2022",
    "year": 2023,
    "status": "re-implementation",
    "search": {
        "lr": None,
        "head_lr": None,
        "epochs": None,
        "batch_size": None,
        "random_features": {"times": [0.25, 2]},
        "negatives": {"times": [0.2, 4]},
    },
    "help": {
        "random_features": "number of random features of a word or span",
        "ridges": "strengths of the ridge to try; the one with the best F1 on a fifth of train is used",
        "negatives": "largest number of unlabelled spans to draw from a sentence",
    },
    "variants": {
        "analytic-token": {
            "label": "Analytic (token)",
            "class": "AnalyticToken",
            "architecture": "token",
            "settings": {"random_features": 2048, "ridges": [1e-4, 1e-3, 1e-2, 1e-1]},
            "summary": "One ridge regression over the words of all steps, on random features of a frozen encoder.",
            "stores": "random_features^2 numbers, and random_features for each tag, in double precision",
            "deviations": "The input is words instead of images. The encoder is the pretrained one (no first-step "
            "tuning). An unlabelled word takes the tag that the previous model gives it. In each step all tags weigh "
            "the same. A word has a tag if its score beats the tag's threshold, chosen by F1 on a fifth of the step's "
            "train, as is the ridge (a share of the features' mean square). Expected: no forgetting by training, but "
            "the frozen encoder limits the scores.",
        },
        "analytic-span": {
            "label": "Analytic (span)",
            "class": "AnalyticSpan",
            "architecture": "span",
            "settings": {"random_features": 1024, "ridges": [1e-4, 1e-3, 1e-2, 1e-1], "negatives": 50},
            "summary": "A ridge regression per step on random features of a span's first and last word, frozen "
            "encoder.",
            "stores": "nothing",
            "deviations": "The input is spans instead of images. The encoder is the pretrained one. Each step's "
            "columns are fitted on that step alone, so nothing is accumulated and old columns never change. At most "
            "negatives unlabelled spans are drawn from each sentence and weighted up. Thresholds and ridge are chosen "
            "by F1 on a fifth of the step's train. Expected: no forgetting at all, but the frozen encoder limits the "
            "scores.",
        },
    },
}

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.closed_form import ClosedForm, PseudoTags, best_threshold, hold_out, tag_columns
from cl_ner_bench.learning.learner import Batch, SpanLearner, Step, TagLearner
from cl_ner_bench.learning.ridge import Rows, Sums
from cl_ner_bench.models.heads.growing import GrowingHead
from cl_ner_bench.models.heads.random_features import RandomSpanHead, RandomTagHead


class Analytic(ClosedForm):
    """A column's logit is w phi(h) - threshold, with phi(h) = ReLU(R h), R random, and w by ridge regression.

    The ridge and the thresholds are those with the best F1 on a held-out fifth of train, which then joins the fit.
    """

    head: Any

    def regressed(self, batch: Batch, words: Tensor) -> Rows:
        """Return the rows of a batch, from its word vectors."""
        raise NotImplementedError

    def solved(self, step: Step, sums: Sums) -> tuple[Tensor, list[float]]:
        """Add the step to ``sums``; return the weights and the threshold of each column."""
        rest, held = hold_out(len(step.train))
        for rows in self._rows(step, rest):
            sums.add(rows)
        ridges = self.settings["ridges"]
        candidates = torch.stack([sums.solve(ridge) for ridge in ridges])
        scores, gold, counts = [], [], []
        for rows in self._rows(step, held):
            scores.append(candidates @ rows.features.to(candidates.dtype).T)
            gold.append(rows.targets > 0)
            counts.append(rows.counts)
            sums.add(rows)
        found: list[list[tuple[float, float] | None]] = [[None] * candidates.shape[1] for _ in ridges]
        if held:
            all_gold, all_counts = torch.cat(gold).T, torch.cat(counts)
            found = [
                [best_threshold(s, g, all_counts) for s, g in zip(of_ridge, all_gold, strict=True)]
                for of_ridge in torch.cat(scores, dim=2)
            ]
        best = max(range(len(ridges)), key=lambda i: sum(f[1] for f in found[i] if f))
        weights = sums.solve(ridges[best])
        # Without a held-out positive row: half the mean score of the positive rows; without these: 1, above all scores.
        middle = (sums.products.T * weights).sum(1) / sums.positives / 2
        middle = middle.where(sums.positives > 0, 1.0)
        return weights, [f[0] if f else m for f, m in zip(found[best], middle.cpu().tolist(), strict=True)]

    def _rows(self, step: Step, positions: Sequence[int]) -> Iterator[Rows]:
        return (self.regressed(batch, words) for batch, words in self.encoded(step, positions))


class AnalyticToken(Analytic, TagLearner):
    """One regression for all tags, over the words of all steps; the logit of O is 0.

    A word without a label has the tag that the previous model gives it. In each step all tags weigh the same.
    """

    def make_head(self) -> GrowingHead:
        return RandomTagHead(self.encoder.hidden_size, self.settings["random_features"])

    def fit(self, step: Step) -> None:
        self.tags = PseudoTags(self, step)
        known = 1 + 2 * self.n_old
        sums = Sums(self.settings["random_features"], self.n_columns, self.device)
        if "gram" in self.carried:
            sums.gram += self.carried["gram"]
            sums.products[:, :known] += self.carried["products"]
            sums.positives[:known] += self.carried["positives"]
        weights, thresholds = self.solved(step, sums)
        self.carried["gram"], self.carried["products"] = sums.gram, sums.products
        self.carried["positives"] = sums.positives
        bias = self.head.bias
        for column in tag_columns(self.head.types, self.labelled):  # others keep their biases: their labels are hidden
            bias[column] = -thresholds[column]
        weights[0], bias[0] = 0, 0
        self.head.assign(weights, bias)

    def regressed(self, batch: Batch, words: Tensor) -> Rows:
        tags = self.tags(batch)
        one_hot = F.one_hot(tags, self.n_columns).to(words.dtype)
        return Rows(self.head.features(words), one_hot, 1 / self.tags.counts[tags], torch.ones_like(one_hot[:, 0]))


class AnalyticSpan(Analytic, SpanLearner):
    """A regression for each labelled type, over spans of this step alone: other columns stay as they are.

    h holds the vectors of a span's first and last word.
    """

    def make_head(self) -> GrowingHead:
        return RandomSpanHead(self.encoder.hidden_size, self.settings["random_features"], self.max_span_width)

    def fit(self, step: Step) -> None:
        sums = Sums(self.settings["random_features"], len(self.labelled), self.device)
        weights, bias = self.head.weight, self.head.bias
        columns = torch.tensor([self.head.types.index(type) for type in self.labelled]).to(self.device)
        found, thresholds = self.solved(step, sums)
        weights[columns], bias[columns] = found.to(weights.dtype), -torch.tensor(thresholds).to(self.device)
        self.head.assign(weights, bias)

    def regressed(self, batch: Batch, words: Tensor) -> Rows:
        """Return all gold spans, and at most ``negatives`` others of each sentence, weighted to stand for the rest."""
        sizes = self.rows(batch.lengths)
        gold = torch.zeros(sum(sizes), len(self.labelled), device=words.device)
        gold[batch.span_gold(self.labelled, self.max_span_width)] = 1
        counts = torch.zeros(sum(sizes), device=words.device)
        start = 0
        for n in sizes:
            others = start + (gold[start : start + n].sum(1) == 0).nonzero()[:, 0]
            drawn = others[torch.randperm(len(others))[: self.settings["negatives"]].to(others.device)]
            counts[drawn] = len(others) / max(1, len(drawn))
            start += n
        counts[gold.sum(1) > 0] = 1
        taken = counts.nonzero()[:, 0]
        features = self.head.features(words, *(at[taken] for at in self.head.ends(batch.lengths, words.device)))
        return Rows(features, gold[taken], counts[taken], counts[taken])
